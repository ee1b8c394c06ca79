//! `make torture`: the queue and the scheduler under faults. See [`tests::torture`].

fn main() -> std::process::ExitCode {
    tests::torture::main()
}
