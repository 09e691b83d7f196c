pub(super) async fn run(_: super::args::DemoArgs) -> super::Exit {
    super::Exit::Done
}
