//! One suite, two stores.

use crate::contract::run;

use super::bed::{Disk, Ram};

#[test]
fn memory_keeps_its_promises() {
    run(Ram::new);
}

#[test]
fn sqlite_keeps_its_promises() {
    run(Disk::new);
}
