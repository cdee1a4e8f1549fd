//! What a peer sends on a connection: the walk over its frames loses, adds and reorders nothing, however the bytes come.
#![no_main]

use bearerd::server::{authority, scan::Scan};
use tokio::io::ReadBuf;

fn through(data: &[u8], size: usize) -> Vec<u8> {
    let (mut scan, mut out) = (Scan::default(), Vec::new());
    for piece in data.chunks(size.max(1)) {
        let mut piece = piece.to_vec();
        let passed = scan.pass(&mut piece);
        out.extend_from_slice(&piece[..passed]);
        let mut space = [0; 64];
        loop {
            let mut buf = ReadBuf::new(&mut space);
            if !scan.deliver(&mut buf) {
                break;
            }
            out.extend_from_slice(buf.filled());
        }
    }
    out
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut block = data.to_vec();
    authority::repair(&mut block);
    assert_eq!(block.len(), data.len());
    // As if the preface had passed.
    let with_preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], data].concat();
    let whole = through(&with_preface, with_preface.len());
    assert!(whole.len() <= with_preface.len());
    for size in [1, 7, 64] {
        assert_eq!(through(&with_preface, size), whole, "in pieces of {size}");
    }
});
