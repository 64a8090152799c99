//! 121–146: signatures, keys, versions, and changes to what is stored.
#![allow(unreachable_pub, reason = "a test binary has no outside")]

use data_encoding::BASE64;
use serde_json::json;

use crate::support::author::{Author, manifest, pack, package};
use crate::support::database;
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[
    attack(&[121, 122, 125, 126, 127, 128, 129], other_bytes),
    attack(&[123], changed_signatures),
    attack(&[130, 131, 132, 133, 134], keys),
    attack(&[137, 138], versions),
    attack(&[140], edge_cases_of_the_curve),
    attack(&[142, 143], missing_and_malformed),
    attack(&[145, 146], changes_to_what_is_stored),
];

const INVALID: &[&str] = &["signature-invalid"];

/// A service that trusts the author for every name.
fn trusting(target: &mut Target) -> Author {
    // Signatures are needed here, so the service of the table is replaced.
    *target = Target::start_signed();
    let author = Author::new();
    trust(target, &author, &["*"]);
    target.remember();
    author
}

fn trust(target: &Target, author: &Author, names: &[&str]) {
    let key = json!({"public_key": author.public_key(), "label": "acme", "names": names});
    target.post("/api/keys", &key).expect(201);
}

fn other_bytes(target: &mut Target) {
    let author = trusting(target);
    let honest = package(&manifest("my-plugin", "1.0.0"));
    let signature = author.sign(&honest);
    for at in [0, 10, honest.len() / 2, honest.len() - 1] {
        for bit in [0, 7] {
            let mut flipped = honest.clone();
            flipped[at] ^= 1 << bit;
            target.refuses_signed("a flipped bit", &flipped, Some(&signature), INVALID);
        }
    }
    let other = package(&manifest("other-plugin", "1.0.0"));
    target.refuses_signed("another plugin's signature", &honest, Some(&author.sign(&other)), INVALID);
    let text = manifest("my-plugin", "1.0.0");
    let files: [(&str, &[u8]); 2] = [("plugin.yaml", text.as_bytes()), ("main.py", b"class Plugin: pass\n")];
    let renamed = pack(&[files[0], ("renamed.py", files[1].1)]);
    let added = pack(&[files[0], files[1], ("added.py", b"")]);
    let removed = pack(&[files[0]]);
    for (what, archive) in [("renamed", renamed), ("added", added), ("removed", removed)] {
        target.refuses_signed(what, &archive, Some(&signature), INVALID);
    }
    // The signature is over the packed bytes: the same tar packed otherwise is another archive.
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(honest.as_slice()), &mut tar).unwrap();
    let repacked = crate::forge::gzip(&tar);
    assert_ne!(repacked, honest);
    target.refuses_signed("packed again", &repacked, Some(&signature), INVALID);
}

/// The decoded second and fourth line of a signature file, put together again by the caller.
fn parts(signature: &str) -> (Vec<u8>, Vec<u8>) {
    let lines: Vec<&str> = signature.lines().collect();
    (BASE64.decode(lines[1].as_bytes()).unwrap(), BASE64.decode(lines[3].as_bytes()).unwrap())
}

fn file(signature: &[u8], comment: &str, global: &[u8]) -> String {
    let (signature, global) = (BASE64.encode(signature), BASE64.encode(global));
    format!("untrusted comment: x\n{signature}\ntrusted comment: {comment}\n{global}\n")
}

fn changed_signatures(target: &mut Target) {
    let author = trusting(target);
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let (signature, global) = parts(&author.sign(&archive));
    let comment = "made by a test";
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    for at in [10, 41, 42, 73] {
        let text = file(&flipped(&signature, at), comment, &global);
        target.refuses_signed("a bit of the signature", &archive, Some(&text), INVALID);
    }
    target.refuses_signed(
        "a bit of the global signature",
        &archive,
        Some(&file(&signature, comment, &flipped(&global, 5))),
        INVALID,
    );
    target.refuses_signed("another comment", &archive, Some(&file(&signature, "made by a tesu", &global)), INVALID);
    let legacy = [b"Ed".as_slice(), &signature[2..]].concat();
    target.refuses_signed("the legacy algorithm", &archive, Some(&file(&legacy, comment, &global)), INVALID);
}

fn keys(target: &mut Target) {
    let author = trusting(target);
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let stranger = Author::new();
    target.refuses_signed("an unknown key", &archive, Some(&stranger.sign(&archive)), &["signature-untrusted"]);

    // The stranger's signature under the id of the trusted key.
    let (trusted, _) = parts(&author.sign(&archive));
    let (mut forged, global) = parts(&stranger.sign(&archive));
    forged[2..10].copy_from_slice(&trusted[2..10]);
    target.refuses_signed("a borrowed id", &archive, Some(&file(&forged, "made by a test", &global)), INVALID);

    let narrow = Author::new();
    trust(target, &narrow, &["other-*"]);
    target.remember();
    target.refuses_signed("a key for other names", &archive, Some(&narrow.sign(&archive)), &["signature-scope"]);

    for (field, time) in [("not_after", "2020-01-01T00:00:00Z"), ("not_before", "2099-01-01T00:00:00Z")] {
        let author = Author::new();
        let key = json!({"public_key": author.public_key(), "label": "x", "names": ["*"], field: time});
        target.post("/api/keys", &key).expect(201);
        target.remember();
        target.refuses_signed(field, &archive, Some(&author.sign(&archive)), &["key-expired"]);
    }
    target.send(target.request(reqwest::Method::DELETE, &format!("/api/keys/{}", author.key_id()))).expect(200);
    target.remember();
    target.refuses_signed("a revoked key", &archive, Some(&author.sign(&archive)), &["key-revoked"]);
}

fn versions(target: &mut Target) {
    let author = trusting(target);
    let install = |target: &Target, version: &str, tail: &str| {
        let archive = package(&format!("{}{tail}", manifest("my-plugin", version)));
        let signature = author.sign(&archive);
        (target.install(&archive, Some(&signature)), archive, signature)
    };
    install(target, "2.0.0", "").0.expect(201);
    target.remember();
    let other = package(&format!("{}tags: [x]\n", manifest("my-plugin", "2.0.0")));
    let form = crate::support::app::form(&other, Some(&author.sign(&other)));
    let update = target.request(reqwest::Method::POST, "/api/plugins/my-plugin/update").multipart(form);
    target.send(update).expect_problem(409, "version-conflict");
    target.unchanged("the same version with other bytes", 1);
    target.uninstall("my-plugin");
    target.remember();
    install(target, "1.0.0", "").0.expect_problem(409, "downgrade-refused");
    target.unchanged("an older version after an uninstall", 1);
}

/// What lenient verifiers accept: another S for the same R, points of small order, other encodings, other lengths.
fn edge_cases_of_the_curve(target: &mut Target) {
    /// The order of the base point, little-endian.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let author = trusting(target);
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let (signature, global) = parts(&author.sign(&archive));
    let comment = "made by a test";
    let mut refuse = |what: &str, signature: &[u8]| {
        target.refuses_signed(what, &archive, Some(&file(signature, comment, &global)), INVALID);
    };
    let mut malleable = signature.clone();
    let mut carry = 0;
    for (byte, order) in malleable[42..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    refuse("S and the order", &malleable);
    let with_r = |r: [u8; 32]| [&signature[..10], &r, &signature[42..]].concat();
    refuse(
        "R of order 1",
        &with_r({
            let mut one = [0; 32];
            one[0] = 1;
            one
        }),
    );
    refuse("R of order 4", &with_r([0; 32]));
    refuse(
        "R that is not canonical",
        &with_r({
            let mut big = [0xff; 32];
            (big[0], big[31]) = (0xee, 0x7f);
            big
        }),
    );
    refuse("all zero", &[&signature[..10], &[0; 64]].concat());
    refuse("63 bytes", &signature[..73]);
    refuse("65 bytes", &[signature.as_slice(), &[0]].concat());

    let id = [7; 8];
    let mut points = vec![[0; 32], [0xff; 32]];
    points.push({
        let mut one = [0; 32];
        one[0] = 1;
        one
    });
    points.push({
        let mut minus = [0xff; 32];
        (minus[0], minus[31]) = (0xec, 0x7f);
        minus
    });
    points.push({
        let mut big = [0xff; 32];
        (big[0], big[31]) = (0xee, 0x7f);
        big
    });
    for point in points {
        let text = BASE64.encode(&[b"Ed".as_slice(), &id, &point].concat());
        let key = json!({"public_key": text, "label": "weak", "names": ["*"]});
        target.post("/api/keys", &key).expect_problem(422, "key-weak");
        target.unchanged("a weak key", 0);
    }
}

fn missing_and_malformed(target: &mut Target) {
    let author = trusting(target);
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let good = author.sign(&archive);
    target.refuses("no signature", &archive, &["signature-missing"]);
    let (signature, global) = parts(&good);
    let lines: Vec<&str> = good.lines().collect();
    let forms = [
        String::new(),
        "\n\n\n\n".to_owned(),
        lines[..3].join("\n"),
        format!("{good}more\n"),
        good.replace(lines[1], &format!("{} ", lines[1])),
        good.replace(lines[1], &lines[1].replace('=', "")),
        good.replace(lines[1], &format!("{}\t{}", &lines[1][..9], &lines[1][9..])),
        good.replace("trusted comment: made", "comment: made"),
        file(&[signature.as_slice(), b"x"].concat(), "made by a test", &global),
    ];
    for text in forms {
        target.refuses_signed("a malformed signature", &archive, Some(&text), INVALID);
    }
    target.install(&archive, Some(&"x".repeat(100_000))).expect_problem(413, "body-too-large");
    target.unchanged("a huge signature", 1);
}

fn changes_to_what_is_stored(target: &mut Target) {
    let author = trusting(target);
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let installed = target.install(&archive, Some(&author.sign(&archive))).expect(201);
    let digest = installed["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let reason = |target: &Target| target.get("/api/plugins/my-plugin").expect(200)["quarantine"]["reason"].take();

    target.stop();
    std::fs::write(target.data().join("packages").join(&digest).join("main.py"), b"import os\n").unwrap();
    target.restart();
    assert_eq!(reason(target), "package-tampered");

    // A row that calls an unsigned archive signed is not believed.
    *target = Target::start();
    target.install(&archive, None).expect(201);
    target.stop();
    let statement = format!("UPDATE versions SET signature_status = 'valid', key_id = '{}'", author.key_id());
    target.runtime.block_on(database::run(&target.data(), &statement));
    target.restart_signed();
    assert_eq!(reason(target), "signature-unverified");
}
