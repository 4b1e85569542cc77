//! Decompression never gives more than the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::inputs::body::Compression;

const LIMIT: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    for compression in [Compression::Gzip, Compression::Deflate, Compression::Brotli, Compression::Zstd] {
        if let Ok(plain) = compression.decompress(bytes, LIMIT) {
            assert!(plain.len() <= LIMIT);
        }
    }
});
