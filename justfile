# One word each for daily work; everything is in xtask.

# formatting, lints, documentation
check:
    cargo xtask check

# install what the tests need and run all of them
test:
    cargo xtask test

# Rust, Python client and browser library tests, without a server process
unit:
    cargo xtask unit

# end-to-end tests; a name picks the files that contain it
e2e name="":
    cargo xtask e2e {{name}}

# simulated worlds: a number of them, or `--seed S --trace` for one
sim *args:
    cargo xtask sim {{args}}

# the documentation of all crates
doc:
    cargo doc --workspace --no-deps --open

# the server, with the arguments given
run *args:
    cargo run --package stentor-server --bin stentor -- {{args}}
