//! `stentor store`: whether the store of a node is sound, and a copy of it. The node may run meanwhile.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use stentor_store::sqlite;

use super::node_dir;
use super::{Outcome, Place, check, complain, say};
use crate::config::StoreKind;

/// What may be done with a store.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Look for damage; reads the whole file and changes nothing
    Check,
    /// Copy it into a new file
    Backup {
        /// The file, which must not exist yet
        file: PathBuf,
    },
}

pub(super) fn run(place: &Place, command: &StoreCommand) -> Outcome {
    let path = match path(place) {
        Ok(path) => path,
        Err(sentence) => {
            complain(&format!("Error: {sentence}"));
            return Outcome::Misused;
        }
    };
    // A link that leads nowhere is told apart from a store that has yet to be made.
    if !path.is_file() && !path.is_symlink() {
        complain(&format!("Error: there is no store {}; a node with a hub creates it when it starts.", path.display()));
        return Outcome::Failed;
    }
    match command {
        StoreCommand::Check => look(&path),
        StoreCommand::Backup { file } => match sqlite::backup(&path, file) {
            Ok(()) => {
                say(&format!("{} is a copy of {}.", file.display(), path.display()));
                Outcome::Fine
            }
            Err(error) => {
                complain(&format!("Error: {} cannot be copied to {}: {error}", path.display(), file.display()));
                Outcome::Failed
            }
        },
    }
}

/// The file of the configured store. Certificates and interfaces that the configuration names are of no concern here.
fn path(place: &Place) -> Result<PathBuf, String> {
    let dir = node_dir::resolve(&place.cbdir);
    let report = check::parse(&node_dir::find_config(&dir, place)?, &dir.path);
    let Some(config) = report.config else {
        check::tell(&report);
        return Err("the configuration is at fault, so that its store is not known".to_owned());
    };
    match config.store.kind {
        StoreKind::Sqlite { path } => Ok(path),
        StoreKind::Memory => Err("the store of this node is 'memory', of which nothing is on the disk".to_owned()),
    }
}

fn look(path: &Path) -> Outcome {
    let report = match sqlite::check(path) {
        Ok(report) => report,
        Err(error) => {
            complain(&format!("Error: {}: {error}", path.display()));
            return Outcome::Failed;
        }
    };
    for fault in &report.faults {
        complain(&format!("Error: {}: {fault}", path.display()));
    }
    if report.faults.is_empty() {
        let (publications, subscriptions) = (report.publications, report.subscriptions);
        say(&format!("Ok, {} is sound: {publications} publications, {subscriptions} subscriptions.", path.display()));
        return Outcome::Fine;
    }
    complain("Error: the store is damaged. Keep the file, and start from the last copy that is sound.");
    Outcome::Failed
}
