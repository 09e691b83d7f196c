# One verb for each thing one does here. `scripts/test` holds the checks, so that CI needs no `just`.

# What there is to do.
default:
    @just --list --unsorted

# Everything CI checks.
ci:
    .ci/run

# Format the code.
fmt:
    cargo fmt

# Lint; warnings are errors.
clippy:
    scripts/test clippy

# Build the documentation, private items too; warnings are errors.
doc:
    scripts/test doc

# Unit and integration tests.
test:
    scripts/test test

# Lint the contract, and compare it with the one callers have.
buf:
    scripts/test buf

# Bans, licences, sources, advisories of the dependencies.
deny:
    scripts/test deny

# Look at snapshots that differ and accept or refuse each (needs cargo-insta).
review:
    cargo insta test --review

# A gateway with simulated vendors behind it.
demo *args:
    cargo run -- demo {{ args }}

# The server, with your configuration.
run *args:
    cargo run -- serve {{ args }}

# Report every fault of a configuration, start nothing.
check-config *args:
    cargo run -- check-config {{ args }}
