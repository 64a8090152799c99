//! Questions about names: A.195.

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;

#[tokio::test]
async fn names_are_known_as_they_are_granted_and_never_looked_up() {
    let mut rig =
        Rig::new(&["a.example", "a.example:8443", "*.wild.example", "http://p.example", "tcp://10.0.0.1:5432"], &[]);
    let mut stream = BufReader::new(rig.connect("names").await);
    let asked = [
        ("a.example", "443 8443"),
        ("A.example.", "443 8443"),
        ("x.wild.example", "443"),
        ("p.example", "80"),
        ("wild.example", "-"),
        ("x.y.wild.example", "-"),
        ("c2VjcmV0.evil.example", "-"),
        ("c2VjcmV0.a.example", "-"),
        ("10.0.0.1", "-"),
        ("", "-"),
        ("a_b", "-"),
    ];
    for (name, ports) in asked {
        stream.get_mut().write_all(format!("{name}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        timeout(PATIENCE, stream.read_line(&mut line)).await.unwrap().unwrap();
        assert_eq!(line.trim_end(), ports, "{name}");
    }
    assert_eq!(rig.resolver.asked.load(Ordering::SeqCst), 0);
    assert_eq!(rig.report().await, ("not-granted", "`wild.example` is not granted, so it has no address".to_owned()));
    // What is granted or taken back counts at the next question.
    rig.grants.store(Arc::new(grants(&["*"])));
    stream.get_mut().write_all(b"evil.example\n").await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "80 443\n");
    let long = format!("{}\n", "a".repeat(400));
    stream.get_mut().write_all(long.as_bytes()).await.unwrap();
    line.clear();
    assert_eq!(timeout(PATIENCE, stream.read_line(&mut line)).await.unwrap().unwrap_or(0), 0);
}
