//! Speed and size of metric chunks: `cargo bench -p watchfire --bench metric_chunk`.

use divan::{Bencher, counter::ItemsCount};
use watchfire::metrics::chunk::{CHUNK_SAMPLES, decode, encode};
use watchfire_types::{Sample, Timestamp};

/// What the chunks are made of, each 240 samples at 30 s with a few milliseconds of jitter.
const KINDS: [&str; 5] = ["cpu percent", "memory bytes", "byte counter", "request counter", "constant"];

fn main() {
    for kind in KINDS {
        let bytes = encode(&samples(kind)).len();
        eprintln!("{kind:>16}: {bytes} bytes a chunk, {:.2} bytes a sample of 16", bytes as f64 / CHUNK_SAMPLES as f64);
    }
    divan::main();
}

fn samples(kind: &str) -> Vec<Sample> {
    let mut random = fastrand::Rng::with_seed(1);
    let (mut walk, mut total) = (4_000_000_000.0_f64, 0_u64);
    let mut sample = |step: usize| {
        let jitter = random.u64(0..12);
        walk += random.f64() * 2e6 - 1e6;
        let value = match kind {
            "cpu percent" => f64::from((random.f32() * 30.0 + 5.0).clamp(0.0, 100.0)),
            "memory bytes" => (walk / 4096.0).round() * 4096.0,
            "byte counter" => {
                total += random.u64(10_000..400_000);
                total as f64
            }
            "request counter" => {
                total += random.u64(0..40);
                total as f64
            }
            _ => 8_589_934_592.0,
        };
        Sample { timestamp: Timestamp::from_millis(1_795_391_047_000 + step as u64 * 30_000 + jitter), value }
    };
    (0..CHUNK_SAMPLES).map(&mut sample).collect()
}

#[divan::bench(args = KINDS)]
fn encoding(bencher: Bencher<'_, '_>, kind: &str) {
    let samples = samples(kind);
    bencher.counter(ItemsCount::new(samples.len())).bench(|| encode(divan::black_box(&samples)));
}

#[divan::bench(args = KINDS)]
fn decoding(bencher: Bencher<'_, '_>, kind: &str) {
    let bytes = encode(&samples(kind));
    bencher.counter(ItemsCount::new(CHUNK_SAMPLES)).bench(|| decode(divan::black_box(&bytes)));
}
