//! What a proxy lets through, and what it tells of.

use super::*;

/// Writes down what it hears.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<String>>>);

impl Ear {
    fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Hear for Ear {
    fn cut(&self, cut: Cut, marked: bool, request: &[u8]) {
        let request = String::from_utf8_lossy(request);
        self.0.lock().unwrap().push(format!("{cut:?} {marked} {request}"));
    }
    fn away(&self, _: Instant) {
        self.0.lock().unwrap().push("away".to_owned());
    }
}

/// Answers each piece with itself.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn("echo", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn("echoed", async move {
                let mut piece = [0; 256];
                while let Some(n) = stream.read(&mut piece).await.ok().filter(|n| *n > 0) {
                    stream.write_all(&piece[..n]).await.unwrap();
                }
            });
        }
    });
    address
}

/// What comes back for a request on a connection of its own.
async fn ask(door: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(door).await.unwrap();
    let mut answer = Vec::new();
    // The proxy may have hung up already.
    let _ = stream.write_all(request).await;
    let mut piece = [0; 256];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut piece)).await.unwrap();
    answer.extend_from_slice(&piece[..read.unwrap_or(0)]);
    answer
}

#[tokio::test]
async fn only_what_met_a_request_has_struck() {
    let ear = Ear::default();
    let marked: Marked = Box::new(|request: &[u8]| request.starts_with(b"start"));
    let proxy = Proxy::start(echo().await, 2, marked, Box::new(ear.clone())).await.unwrap();
    let (one, two) = (proxy.door(0).unwrap(), proxy.door(1).unwrap());
    proxy.cut_marked(0, Cut::AfterRequest);
    assert_eq!(ask(one, b"look").await, b"look");
    assert_eq!(ask(two, b"look").await, b"look");
    assert!(ear.heard().is_empty(), "it waits for a start: {:?}", ear.heard());
    assert_eq!(ask(two, b"start").await, b"");
    assert_eq!(ask(two, b"start").await, b"start");
    proxy.cut(1, Cut::BeforeRequest);
    assert_eq!(ask(one, b"first").await, b"first");
    assert_eq!(ask(one, b"second").await, b"");
    assert_eq!(ear.heard(), ["AfterRequest true start", "BeforeRequest false second"]);
    assert_eq!((proxy.requests(0), proxy.requests(1)), (3, 3), "by door");
    proxy.stop().await;
}

#[tokio::test]
async fn one_that_is_away_has_struck_once_somebody_came() {
    let ear = Ear::default();
    let proxy = Proxy::start(echo().await, 1, Box::new(|_| false), Box::new(ear.clone())).await.unwrap();
    let door = proxy.address().unwrap();
    proxy.go_away(Instant::now() + Duration::from_secs(60));
    assert!(ear.heard().is_empty(), "nobody came yet");
    assert_eq!(ask(door, b"look").await, b"");
    assert_eq!(ask(door, b"look").await, b"");
    assert_eq!(ear.heard(), ["away"]);
    assert!(proxy.away_until().is_some());
    proxy.heal();
    assert_eq!(ask(door, b"look").await, b"look");
    proxy.stop().await;
}
