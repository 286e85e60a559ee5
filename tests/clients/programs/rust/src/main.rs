//! An order service that is busy for some seconds under Pyroscope's SDK: `orders URL NAME`.

use pyroscope::backend::{pprof_backend, BackendConfig, PprofConfig};
use pyroscope::pyroscope::PyroscopeAgentBuilder;
use std::time::{Duration, Instant};
use std::{env, hint};

#[inline(never)]
fn price_orders(until: Instant) -> f64 {
    let mut total = 0.0;
    while Instant::now() < until {
        for number in 0..10_000 {
            total += hint::black_box(number as f64) * 0.5;
        }
    }
    total
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = env::args().collect();
    let backend = pprof_backend(PprofConfig::default(), BackendConfig::default());
    let agent = PyroscopeAgentBuilder::new(&words[1], &words[2], 100, "pyroscope-rs", "2.1.5", backend)
        .tags(vec![("region", "eu")])
        .upload_interval(Duration::from_secs(2))
        .build()?
        .start()?;
    hint::black_box(price_orders(Instant::now() + Duration::from_secs(4)));
    agent.stop()?.shutdown();
    Ok(())
}
