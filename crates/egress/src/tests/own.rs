//! A public address that is this machine's own: what listens there is closed to the outside by a firewall, which lets
//! connections from the machine itself pass.

use std::process::Command;

use super::*;

/// Of the test's network namespace, which has nothing but its own loopback interface.
const OWN: &str = "45.33.32.156";

/// Of a range that is routed to the test's network namespace and stands on no interface.
const ROUTED: &str = "2600:3c01::53";

/// Brings up loopback with one more address, and one range of IPv6. Needs no program but Python.
const SET_UP: &str = r#"
import fcntl, os, socket, struct, sys
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def address(text):
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))
fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 0x49))
fcntl.ioctl(control, 0x8916, struct.pack("16s16s", b"lo:1", address(sys.argv[1])))
if os.path.exists("/proc/net/if_inet6"):
    route = struct.pack("=8BI", socket.AF_INET6, 64, 0, 0, 255, 4, 0, 2, 0)
    route += struct.pack("=HH16s", 20, 1, socket.inet_pton(socket.AF_INET6, sys.argv[2]))
    route += struct.pack("=HHI", 8, 4, socket.if_nametoindex("lo"))
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    netlink.send(struct.pack("=IHHII", 16 + len(route), 24, 0x605, 1, 0) + route)
    assert struct.unpack_from("=i", netlink.recv(4096), 16) == (0,)
"#;

/// Runs a test of this binary that is ignored otherwise where loopback has a public address.
#[test]
fn a_public_address_of_this_machine_is_not_connected_to() {
    let inner = "tests::own::inside";
    let script = format!("python3 -c '{SET_UP}' {OWN} {ROUTED} && exec \"$0\" --exact {inner} --ignored --nocapture");
    #[expect(clippy::disallowed_methods, reason = "only a new process gets a network of its own")]
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-ec", &script])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "run by the test above, in a network of its own"]
async fn inside() {
    is_refused(OWN, OWN).await;
    // A kernel without IPv6 reaches none of it.
    if std::path::Path::new("/proc/net/if_inet6").exists() {
        is_refused("::", ROUTED).await;
    }
}

async fn is_refused(listening: &str, address: &str) {
    let listener = TcpListener::bind((listening, 0)).await.unwrap();
    let host = Host { port: listener.local_addr().unwrap().port(), listener };
    let rule = format!("tcp://a.example:{}", host.port);
    let lead_there = |rig: &Rig| *rig.resolver.answers.lock().unwrap() = [vec![address.parse().unwrap()]].into();
    let first = format!("tunnel a.example:{}", host.port);

    let mut rig = Rig::new(&[&rule], &[]);
    lead_there(&rig);
    let said = rig.answer(&first, b"").await;
    assert!(said.starts_with("refused private-address "), "{said}");
    assert_eq!(
        rig.report().await.1,
        format!("`a.example:{}` is an address of this machine (`{address}`), which is refused", host.port)
    );
    host.assert_untouched().await;
    // The operator may say so.
    let rig = Rig::new(&[&rule], &["a.example"]);
    lead_there(&rig);
    let _plugin = rig.connect(&first).await;
    host.accept().await;
}

/// Where the service listens, also by another address of the machine: what is listed and granted does not matter.
#[tokio::test]
async fn the_service_itself_is_reached_by_no_name_and_no_address() {
    for listening in ["127.0.0.1", "0.0.0.0", "::", "::1"] {
        // A kernel without IPv6 has none of its addresses.
        let Ok(listener) = TcpListener::bind((listening, 0)).await else { continue };
        let at = listener.local_addr().unwrap();
        let host = Host { port: at.port(), listener };
        for (name, answers) in [
            ("host.plugbay.internal", vec![]),
            ("a.example", vec!["127.0.0.1", "::1"]),
            ("a.example", vec!["0.0.0.0"]),
            ("a.example", vec!["::ffff:127.0.0.1", "::1"]),
            ("a.example", vec!["45.33.32.156", "127.0.0.1", "::1"]),
        ] {
            let rule = format!("tcp://{name}:{}", host.port);
            let mut rig = Rig::with(&[&rule], &[&format!("{name}:{}", host.port)], |config| config.service = Some(at));
            let answers: Vec<IpAddr> = answers.iter().map(|address| address.parse().unwrap()).collect();
            *rig.resolver.answers.lock().unwrap() = [answers.clone()].into();
            let said = rig.answer(&format!("tunnel {name}:{}", host.port), b"GET /metrics HTTP/1.1\r\n\r\n").await;
            assert!(said.starts_with("refused private-address "), "{listening}, {name}, {answers:?}: {said}");
            let (_, noted) = rig.report().await;
            assert!(noted.contains("where plugbay itself listens"), "{listening}, {name}, {answers:?}: {noted}");
        }
        host.assert_untouched().await;
    }
}

#[tokio::test]
async fn other_ports_of_the_machine_are_reached_as_they_are_listed() {
    let (host, service) = (Host::start().await, "127.0.0.1:1".parse().unwrap());
    let rule = format!("tcp://host.plugbay.internal:{}", host.port);
    let listed = format!("host.plugbay.internal:{}", host.port);
    let rig = Rig::with(&[&rule], &[&listed], |config| config.service = Some(service));
    let _plugin = rig.connect(&format!("tunnel host.plugbay.internal:{}", host.port)).await;
    host.accept().await;
}
