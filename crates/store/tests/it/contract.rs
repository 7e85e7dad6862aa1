//! One suite, two stores.

use stentor_store::contract::run;

use crate::bed::{Disk, Ram};

#[test]
fn memory_keeps_its_promises() {
    run(Ram::new);
}

#[test]
fn sqlite_keeps_its_promises() {
    run(Disk::new);
}
