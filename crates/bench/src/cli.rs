//! The command line: what to measure, and where the results go.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::cell::{Cell, Context};
use crate::curve::{self, Curve, CurveRun};
use crate::dialect::Dialect;
use crate::fault::{Fault, io};
use crate::functions::{self, FunctionCell, FunctionContext, FunctionRun, Judge};
use crate::hub::{self, HubCell, HubContext, HubRun, Maker, Signing};
use crate::machine;
use crate::profile;
use crate::report::{Content, Slice};
use crate::rounds::{self, Run};
use crate::soak::{self, Plan};
use crate::stub::{self, Mode};
use crate::swarm::Part;
use crate::system::{Programs, System};
use crate::weather::{self, ATTACKS, Attack};
use crate::{chart, table};

#[derive(Debug, Parser)]
#[command(name = "stentor-bench", about = "Measures Stentor beside ceilings and peers.", disable_version_flag = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure; `cargo xtask bench` builds everything and calls this
    Run(RunArgs),
    /// Press on the server for long, with half of what it can do; `cargo xtask soak` builds everything and calls this
    Soak(SoakArgs),
    /// Put together what several runs with `--json` have measured
    Report(ReportArgs),
    /// Count the instructions of a publication by stage, with valgrind; `cargo xtask profile` builds and calls this
    Profile(ProfileArgs),
    /// Be a ceiling: a server that does nothing but hand on
    Ceiling {
        /// How frames reach the sockets
        #[arg(long, value_enum)]
        mode: Mode,
        /// Where to listen
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Measure the hub; `cargo xtask bench-hub` builds everything and calls this
    Hub(HubArgs),
    /// Measure authenticator functions; `cargo xtask bench-functions` builds everything and calls this
    Functions(FunctionsArgs),
    /// Be the ceiling of hubs
    CeilingOfHubs {
        /// Where to listen
        #[arg(long)]
        listen: SocketAddr,
        /// How many endpoints there are
        #[arg(long)]
        endpoints: usize,
        /// The port of all of them
        #[arg(long)]
        port: u16,
        /// Whether to sign
        #[arg(long, value_enum)]
        signing: Signing,
    },
    /// Be subscribers, for another process that measures
    Listen(ListenArgs),
    /// Measure what hostile clients do to honest ones; `cargo xtask weather` builds everything and calls this
    Weather(WeatherArgs),
    /// Put together what several runs of `weather` with `--json` have seen
    WeatherReport {
        #[arg(required = true, value_name = "FILES")]
        files: Vec<PathBuf>,
    },
    /// Be hostile clients, for another process that measures
    Storm {
        #[arg(long, value_parser = attack)]
        attack: &'static Attack,
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        seconds: u64,
        #[arg(long)]
        report: PathBuf,
    },
    /// Burn a share of a processor, for another process that measures
    Burn {
        #[arg(long)]
        share: f64,
    },
}

#[derive(Debug, Args)]
struct WeatherArgs {
    /// The server to attack
    #[arg(long, value_name = "FILE")]
    server: PathBuf,
    /// Only these attacks
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = attack)]
    only: Vec<&'static Attack>,
    /// How often each attack is made, on a fresh server each time; latencies are medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that each attack lasts, if that is longer than its limits need to show
    #[arg(long)]
    seconds: Option<u64>,
    /// Where the raw figures go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn attack(name: &str) -> Result<&'static Attack, String> {
    let names = || ATTACKS.iter().map(|attack| attack.name).collect::<Vec<_>>().join(", ");
    Attack::find(name).ok_or_else(|| format!("there are only {}", names()))
}

/// What every benchmark is told.
#[derive(Debug, Args)]
struct Subject {
    /// The server to measure
    #[arg(long, value_name = "FILE")]
    server: PathBuf,
    /// The commit that the server was built from, for the record
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Rounds; medians are taken over them
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that each run presses on a system
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// One short round
    #[arg(long)]
    quick: bool,
}

impl Subject {
    /// Rounds, and seconds of each run.
    fn effort(&self) -> (usize, f64) {
        if self.quick { (1, 1.0) } else { (self.rounds, self.seconds) }
    }
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    subject: Subject,
    /// Only these cells: fanout1, fanout100, fanout1000, fanout5000, rate1000, memory1000, memory10000, start, sessions,
    /// or any of them with another number
    #[arg(long, value_delimiter = ',', value_name = "CELLS", value_parser = cells)]
    only: Vec<Cells>,
    /// How the cost grows, instead of the cells: all curves, or only these
    #[arg(long, num_args = 0.., value_delimiter = ',', value_enum)]
    curves: Option<Vec<Curve>>,
    /// Only these systems [default: all that are installed]
    #[arg(long, value_delimiter = ',', value_enum)]
    systems: Vec<System>,
    /// Numbers of live sessions for the cell `sessions`
    #[arg(long, value_delimiter = ',', default_values_t = [5000, 10_000])]
    sessions: Vec<usize>,
    /// Crossbar.io [default: `crossbar` in PATH]
    #[arg(long, value_name = "FILE")]
    crossbar: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct HubArgs {
    #[command(flatten)]
    subject: Subject,
    /// The example `bench` of stentor-store, for what is about the store alone [default: that is left out]
    #[arg(long, value_name = "FILE")]
    store_example: Option<PathBuf>,
    /// Only these cells: deliver1, deliver50, deliver1000, signed1, signed50, signed1000, accept1, accept64, healthy, fifth,
    /// hanging, failing, dripping, wamp-alone, wamp-beside-other, wamp-beside-own, idle100000, idle1000000, or those with a number
    /// with another one
    #[arg(long, value_delimiter = ',', value_name = "CELLS", value_parser = hub_cell)]
    only: Vec<HubCell>,
    /// Only these hubs
    #[arg(long, value_delimiter = ',', value_enum)]
    systems: Vec<Maker>,
    /// Where files of many subscriptions are made, and stay [default: a folder that is removed afterwards]
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct FunctionsArgs {
    #[command(flatten)]
    subject: Subject,
    /// Only these cells: def1, def32, async1, async32, or these with another number
    #[arg(long, value_delimiter = ',', value_name = "CELLS", value_parser = function_cell)]
    only: Vec<FunctionCell>,
    /// Only these systems
    #[arg(long, value_delimiter = ',', value_enum)]
    systems: Vec<Judge>,
    /// Where the Python environment is made, and stays [default: a folder that is removed afterwards]
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

fn function_cell(word: &str) -> Result<FunctionCell, String> {
    FunctionCell::named(word).ok_or_else(|| "no such cell".to_owned())
}

fn hub_cell(word: &str) -> Result<HubCell, String> {
    HubCell::named(word).ok_or_else(|| "no such cell".to_owned())
}

/// Where results go, beside the terminal.
#[derive(Debug, Args)]
struct Output {
    /// Where the raw figures go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the picture goes
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Put both into docs/bench
    #[arg(long)]
    save: bool,
}

#[derive(Debug, Args)]
struct SoakArgs {
    /// The server to press on
    #[arg(long, value_name = "FILE")]
    server: PathBuf,
    /// Seconds to publish at half of the full rate
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Sessions that stay from the beginning to the end
    #[arg(long, default_value_t = 100)]
    subscribers: usize,
    /// What the dice of those who come and go begin with
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// What `run --json` has written: either cells or curves, of one build on one machine
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct ProfileArgs {
    /// The server, built with line tables
    #[arg(long, value_name = "FILE")]
    server: PathBuf,
    /// Publications to count
    #[arg(long, default_value_t = 1000)]
    publications: u64,
}

#[derive(Debug, Args)]
struct ListenArgs {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    path: String,
    #[arg(long)]
    realm: String,
    #[arg(long)]
    count: usize,
    #[arg(long)]
    offset: usize,
    #[arg(long)]
    sources: usize,
    #[arg(long)]
    plain: bool,
}

/// What one word after `--only` stands for.
#[derive(Clone, Copy, Debug)]
enum Cells {
    One(Cell),
    Sessions,
}

fn cells(word: &str) -> Result<Cells, String> {
    match word {
        "sessions" => Ok(Cells::Sessions),
        _ => Cell::named(word).map(Cells::One).ok_or_else(|| "no such cell".to_owned()),
    }
}

/// What is measured when nothing else is said.
const CELLS: [Cells; 9] = [
    Cells::One(Cell::Fanout(1)),
    Cells::One(Cell::Fanout(100)),
    Cells::One(Cell::Fanout(1000)),
    Cells::One(Cell::Fanout(5000)),
    Cells::One(Cell::Rate(1000)),
    Cells::One(Cell::Memory(1000)),
    Cells::One(Cell::Memory(10_000)),
    Cells::One(Cell::Start),
    Cells::Sessions,
];

/// Runs the command line of this process. 0: measured and clean; 1: something was lost or failed; 2: misused.
#[must_use]
pub fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    machine::raise_limit();
    let done = match line.command {
        Command::Run(args) => measure(&args),
        Command::Soak(args) => soak(&args),
        Command::Report(args) => report(&args),
        Command::Profile(args) => profile(&args),
        Command::Ceiling { mode, listen } => stub::serve(listen, mode).map(|()| ExitCode::SUCCESS),
        Command::Hub(args) => hub(&args),
        Command::Functions(args) => functions(&args),
        Command::CeilingOfHubs { listen, endpoints, port, signing } => {
            stub::webhooks::serve(listen, endpoints, port, signing).map(|()| ExitCode::SUCCESS)
        }
        Command::Listen(args) => listen(args).map(|()| ExitCode::SUCCESS),
        Command::Weather(WeatherArgs { server, only, rounds, seconds, json }) => {
            weather::run(&weather::Options { server, only, rounds, seconds, json }, &say, &complain)
        }
        Command::WeatherReport { files } => weather::report(&files, &say),
        Command::Storm { attack, address, seconds, report } => {
            weather::storm(attack, address, seconds, &report).map(|()| ExitCode::SUCCESS)
        }
        Command::Burn { share } => {
            weather::burn(share);
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|fault| {
        complain(&format!("Error: {fault}"));
        ExitCode::FAILURE
    })
}

fn listen(args: ListenArgs) -> Result<(), Fault> {
    let dialect = if args.plain { Dialect::Plain } else { Part::DIALECT };
    let target = Part::target(args.address, args.path, args.realm, dialect);
    let part = Part { target, count: args.count, offset: args.offset, sources: args.sources };
    part.run(&mut std::io::stdout())
}

fn soak(args: &SoakArgs) -> Result<ExitCode, Fault> {
    machine::is_fresh(&args.server)?;
    let programs = Programs { stentor: args.server.clone(), bench: PathBuf::new(), nchan: None, crossbar: None };
    let time = Duration::from_secs(args.seconds);
    let soaked = soak::run(&programs, Plan { time, subscribers: args.subscribers, seed: args.seed })?;
    say(&soaked.render());
    Ok(if soaked.rules().iter().all(|rule| rule.held) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(args: &RunArgs) -> Result<ExitCode, Fault> {
    machine::is_fresh(&args.subject.server)?;
    let bench = io(std::env::current_exe(), || "this program does not know where it is".to_owned())?;
    // Servers work in folders of their own, where a relative path leads elsewhere.
    let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let programs = Programs {
        stentor: absolute(&args.subject.server),
        bench,
        nchan: find("nginx").zip(nchan_module()),
        crossbar: args.crossbar.as_ref().map(absolute).or_else(|| find("crossbar")),
    };
    let systems = systems(args, &programs);
    let (rounds, seconds) = args.subject.effort();
    let context = Context { programs, time: Duration::from_secs_f64(seconds) };
    match &args.curves {
        Some(curves) => {
            let wanted = if curves.is_empty() { &Curve::ALL[..] } else { curves };
            let curves = curve::run(&context, wanted, rounds, &mut |run| complain(&curve_progress(run)));
            let slice = Slice::new(&args.subject.commit, seconds, &curves.json());
            show(&args.output, &slice, &Content::Curves(curves))
        }
        None => {
            let results = rounds::run(&context, &wanted(args), &systems, rounds, &mut |run| complain(&progress(run)));
            let slice = Slice::new(&args.subject.commit, seconds, &results.json());
            show(&args.output, &slice, &Content::Cells(results))
        }
    }
}

fn hub(args: &HubArgs) -> Result<ExitCode, Fault> {
    machine::is_fresh(&args.subject.server)?;
    let bench = io(std::env::current_exe(), || "this program does not know where it is".to_owned())?;
    let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let store = args.store_example.as_ref().map(absolute);
    if store.is_none() {
        complain("without --store-example, the store alone and cells of idle subscriptions are left out");
    }
    let is_there = |maker: &Maker| store.is_some() || !matches!(maker, Maker::Store | Maker::Bare);
    let makers: Vec<Maker> = if args.systems.is_empty() { Maker::ALL.into() } else { args.systems.clone() };
    let makers: Vec<Maker> = makers.into_iter().filter(is_there).collect();
    let mut cells = if args.only.is_empty() { HubCell::ALL.to_vec() } else { args.only.clone() };
    cells.retain(|cell| store.is_some() || !matches!(cell, HubCell::Idle(_)));
    let temporary = io(tempfile::tempdir(), || "there is no temporary folder".to_owned())?;
    let folder = args.files.as_ref().map_or_else(|| temporary.path().to_path_buf(), absolute);
    let (rounds, seconds) = args.subject.effort();
    let programs = hub::Programs { stentor: absolute(&args.subject.server), bench, store };
    let context = HubContext { programs, time: Duration::from_secs_f64(seconds), folder };
    let results = hub::run(&context, &cells, &makers, rounds, &mut |run| complain(&hub_progress(run)));
    let slice = Slice::new(&args.subject.commit, seconds, &results.json());
    show(&args.output, &slice, &Content::Hubs(results))
}

fn functions(args: &FunctionsArgs) -> Result<ExitCode, Fault> {
    machine::is_fresh(&args.subject.server)?;
    let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let temporary = io(tempfile::tempdir(), || "there is no temporary folder".to_owned())?;
    let folder = args.files.as_ref().map_or_else(|| temporary.path().to_path_buf(), absolute);
    let (rounds, seconds) = args.subject.effort();
    let cells = if args.only.is_empty() { FunctionCell::ALL.to_vec() } else { args.only.clone() };
    let judges: Vec<Judge> = if args.systems.is_empty() { Judge::ALL.into() } else { args.systems.clone() };
    let context =
        FunctionContext { stentor: absolute(&args.subject.server), time: Duration::from_secs_f64(seconds), folder };
    let results = functions::run(&context, &cells, &judges, rounds, &mut |run| complain(&function_progress(run)))?;
    let slice = Slice::new(&args.subject.commit, seconds, &results.json());
    show(&args.output, &slice, &Content::Functions(results))
}

fn report(args: &ReportArgs) -> Result<ExitCode, Fault> {
    let read = |file: &PathBuf| {
        let text = io(fs::read_to_string(file), || format!("{} cannot be read", file.display()))?;
        serde_json::from_str(&text).map_err(|error| Fault::Setup(format!("{}: {error}", file.display())))
    };
    let slice = Slice::merge(args.files.iter().map(read).collect::<Result<_, _>>()?)?;
    show(&args.output, &slice, &slice.content()?)
}

fn profile(args: &ProfileArgs) -> Result<ExitCode, Fault> {
    let server = io(std::path::absolute(&args.server), || "there is no such path".to_owned())?;
    let profiled = profile::run(server, args.publications, &mut complain)?;
    say(&profiled.render());
    Ok(ExitCode::SUCCESS)
}

fn judge(faults: &[String]) -> ExitCode {
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn wanted(args: &RunArgs) -> Vec<Cell> {
    let words = if args.only.is_empty() { CELLS.to_vec() } else { args.only.clone() };
    let mut cells = Vec::new();
    for word in words {
        match word {
            Cells::One(cell) => cells.push(cell),
            Cells::Sessions => cells.extend(args.sessions.iter().map(|&count| Cell::Sessions(count))),
        }
    }
    cells
}

fn systems(args: &RunArgs, programs: &Programs) -> Vec<System> {
    if !args.systems.is_empty() {
        return args.systems.clone();
    }
    let is_there = |system: &System| match system {
        System::Nchan => programs.nchan.is_some(),
        System::Crossbar => programs.crossbar.is_some(),
        _ => true,
    };
    for system in System::ALL.iter().filter(|system| !is_there(system)) {
        complain(&format!("{} is not installed and left out", system.name()));
    }
    System::ALL.into_iter().filter(is_there).collect()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps daemons where the PATH of ordinary users does not lead.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn nchan_module() -> Option<PathBuf> {
    let folders = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/etc/nginx/modules"];
    folders.iter().map(|folder| Path::new(folder).join("ngx_nchan_module.so")).find(|file| file.is_file())
}

fn progress(run: &Run) -> String {
    let (heading, figure) = table::headline(run.cell);
    let words = match &run.result {
        Ok(figures) => format!("{} {heading}", chart::short(figures.get(figure).copied().unwrap_or_default())),
        Err(words) => words.clone(),
    };
    format!("round {} {:<12} {:<10} {words}", run.round, run.cell.name(), run.system.name())
}

fn curve_progress(run: &CurveRun) -> String {
    let words = match &run.result {
        Ok(figures) => format!("{} us/publication", chart::short(figures["cpu_us_per_publication"])),
        Err(words) => words.clone(),
    };
    format!("round {} {:<12} {:<10} {words}", run.round, format!("{:?}", run.curve), run.label)
}

fn hub_progress(run: &HubRun) -> String {
    let (heading, figure) = hub::table::headline(run.cell);
    let words = match &run.result {
        Ok(figures) => format!("{} {heading}", chart::short(figures.get(figure).copied().unwrap_or_default())),
        Err(words) => words.clone(),
    };
    format!("round {} {:<18} {:<10} {words}", run.round, run.cell.name(), run.system.name())
}

fn function_progress(run: &FunctionRun) -> String {
    let words = match &run.result {
        Ok(figures) => format!("{} verdicts/s", chart::short(figures[functions::table::RATE])),
        Err(words) => words.clone(),
    };
    format!("round {} {:<8} {:<16} {words}", run.round, run.cell.name(), run.system.name())
}

/// Prints results, and writes the raw figures and the picture where they are wanted.
fn show(output: &Output, slice: &Slice, content: &Content) -> Result<ExitCode, Fault> {
    say(&content.table());
    let names = content.names().map(|name| output.save.then(|| Path::new("docs/bench").join(name)));
    let [json_file, svg_file] = names;
    if let Some(file) = output.json.clone().or(json_file) {
        write(&file, &format!("{:#}\n", slice.json()))?;
    }
    if let Some(file) = output.svg.clone().or(svg_file) {
        write(&file, &content.picture(&slice.caption()))?;
    }
    Ok(judge(&content.faults()))
}

fn write(file: &Path, text: &str) -> Result<(), Fault> {
    let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
    io(folder.and_then(|()| fs::write(file, text)), || format!("{} cannot be written", file.display()))
}

/// Prints results. A closed pipe is nobody's fault.
fn say(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Prints what is not a result.
fn complain(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_named() {
        for cell in [Cell::Fanout(7), Cell::Rate(50), Cell::Memory(1000), Cell::Start, Cell::Sessions(9)] {
            let Ok(Cells::One(found)) = cells(&cell.name()) else { panic!("{cell:?} is not understood") };
            assert_eq!(found, cell);
        }
        assert!(cells("fanout").is_err() && cells("fanout0").is_err() && cells("x").is_err());
    }
}
