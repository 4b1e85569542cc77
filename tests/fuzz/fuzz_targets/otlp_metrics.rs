//! No protobuf makes the metrics decoder panic, and what it gives has a name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::inputs::otlp::metrics;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(decoded) = metrics::decode(bytes, 16 << 20) {
        assert!(decoded.points.iter().all(|point| !point.series.name.is_empty()));
        assert_eq!(decoded.rejected > 0, !decoded.reason.is_empty());
    }
});
