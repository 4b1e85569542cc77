//! The collector: measures this machine and this process, with no configuration.
//!
//! The specification's names (`system.cpu_percent` …) come with those of `node_exporter` where it has one, with
//! its labels.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sysinfo::{
    CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, Networks, Pid, ProcessRefreshKind, ProcessesToUpdate, System,
};
use tokio_util::sync::CancellationToken;
use watchfire_types::{MetricBatch, MetricKind, MetricPoint, SeriesKey, Timestamp};

use crate::clock::Clock;
use crate::config::Performance;
use crate::metrics::Metrics;
use crate::telemetry::SelfMetrics;

/// A share of CPU time needs two readings; the first collection waits this long between them.
const FIRST_READING: Duration = Duration::from_millis(250);
/// File systems that hold no data of anyone's.
const PSEUDO: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "procfs",
    "pstore",
    "ramfs",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];
/// The kernel counts CPU time in hundredths of a second, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of a `cpu` line of `/proc/stat`, under the names of `node_exporter`.
const CPU_MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// Measures the machine at once and then every `collection_interval`, until `shutdown`. Each collection is one batch. Returns at
/// once if `auto_start` is off.
pub async fn collect(
    metrics: Metrics,
    self_metrics: SelfMetrics,
    performance: Performance,
    data_dir: PathBuf,
    clock: Clock,
    shutdown: CancellationToken,
) {
    if !performance.auto_start {
        return;
    }
    let Ok(Some(mut machine)) = tokio::task::spawn_blocking(move || Machine::new(data_dir)).await else {
        tracing::error!("this machine cannot be measured: there will be no system metrics");
        return;
    };
    // Real time, not the clock's: the kernel counts on whatever a test's clock says.
    tokio::time::sleep(FIRST_READING).await;
    let mut next = clock.now();
    let mut failing = false;
    loop {
        let (now, own) = (clock.now(), self_metrics.clone());
        let measured = tokio::task::spawn_blocking(move || {
            let batch = machine.measure(now, &own);
            (machine, batch)
        });
        let Ok((same, batch)) = measured.await else {
            tracing::error!("measuring this machine failed: there will be no more system metrics");
            return;
        };
        machine = same;
        match metrics.ingest(batch).await {
            Ok(_) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!("system metrics are not stored at present: {error}");
            }
            Err(_) => {}
        }
        // What was missed, as on a sleeping laptop, is not made up for.
        next = next.plus(performance.collection_interval).max(clock.now().minus(performance.collection_interval));
        tokio::select! {
            () = clock.sleep_until(next) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// What is kept between two readings.
struct Machine {
    system: System,
    disks: Disks,
    networks: Networks,
    pid: Pid,
    data_dir: PathBuf,
}

impl Machine {
    fn new(data_dir: PathBuf) -> Option<Self> {
        let pid = sysinfo::get_current_pid().ok()?;
        let (system, disks, networks) = (System::new().ok()?, Disks::new().ok()?, Networks::new().ok()?);
        let mut machine = Self { system, disks, networks, pid, data_dir };
        machine.refresh_cpu();
        Some(machine)
    }

    fn refresh_cpu(&mut self) {
        self.system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        // Only this process: reading the details of all would cost more than all the rest.
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), true, what);
    }

    fn measure(&mut self, now: Timestamp, own: &SelfMetrics) -> MetricBatch {
        self.refresh_cpu();
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        self.disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        self.networks.refresh(true);
        // Milliseconds are exact enough, and take half the bytes on disk.
        let mut batch = Batch { now: Timestamp::from_millis(now.as_millis()), points: Vec::with_capacity(128) };
        self.measure_cpu(&mut batch);
        self.measure_memory(&mut batch);
        self.measure_disks(&mut batch);
        self.measure_networks(&mut batch);
        if let Some(count) = process_count() {
            batch.gauge("system.process_count", &[], "{process}", count as f64);
        }
        batch.gauge("node_time_seconds", &[], "s", now.as_seconds_f64());
        if let Some(process) = self.system.process(self.pid) {
            let labels = [("service", "watchfire")];
            batch.gauge("process_memory_mb", &labels, "MiBy", process.memory() as f64 / f64::from(1 << 20));
            batch.percent("process_cpu_percent", &labels, f64::from(process.cpu_usage()));
        }
        if let Some(space) = space(&self.data_dir) {
            own.gauge("watchfire_data_available_bytes", &[]).set(space.available);
        }
        batch.own(own);
        batch.points
    }

    fn measure_cpu(&self, batch: &mut Batch) {
        batch.percent("system.cpu_percent", &[], f64::from(self.system.global_cpu_usage()).clamp(0.0, 100.0));
        if let Ok(load) = System::load_average() {
            for (name, value) in [("node_load1", load.one), ("node_load5", load.five), ("node_load15", load.fifteen)] {
                batch.gauge(name, &[], "", value);
            }
        }
        if let Ok(boot) = System::boot_time() {
            batch.gauge("node_boot_time_seconds", &[], "s", boot as f64);
        }
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        for (cpu, mode, seconds) in cpu_seconds(&stat) {
            batch.counter("node_cpu_seconds_total", &[("cpu", cpu), ("mode", mode)], "s", seconds);
        }
    }

    fn measure_memory(&self, batch: &mut Batch) {
        let (total, available) = (self.system.total_memory() as f64, self.system.available_memory() as f64);
        if total > 0.0 {
            batch.percent("system.memory_percent", &[], (total - available) / total * 100.0);
            batch.gauge("node_memory_MemTotal_bytes", &[], "By", total);
            batch.gauge("node_memory_MemAvailable_bytes", &[], "By", available);
        }
    }

    fn measure_disks(&self, batch: &mut Batch) {
        for disk in &self.disks {
            let (device, fstype) = (disk.name().to_string_lossy(), disk.file_system().to_string_lossy());
            let mountpoint = disk.mount_point();
            if !is_real(&fstype, mountpoint) {
                continue;
            }
            let Some(space) = space(mountpoint) else { continue };
            let mountpoint = mountpoint.to_string_lossy();
            let labels = [("device", &*device), ("fstype", &*fstype), ("mountpoint", &*mountpoint)];
            batch.percent("system.disk_usage_percent", &labels, space.used_percent());
            batch.gauge("node_filesystem_size_bytes", &labels, "By", space.size);
            batch.gauge("node_filesystem_avail_bytes", &labels, "By", space.available);
        }
    }

    fn measure_networks(&self, batch: &mut Batch) {
        for (device, data) in &*self.networks {
            let device = device.to_string_lossy();
            let (received, sent) = (data.total_received() as f64, data.total_transmitted() as f64);
            batch.counter("node_network_receive_bytes_total", &[("device", &device)], "By", received);
            batch.counter("node_network_transmit_bytes_total", &[("device", &device)], "By", sent);
            // What a machine says to itself is not network traffic.
            if device != "lo" {
                batch.counter("system.network_io", &[("device", &device), ("direction", "receive")], "By", received);
                batch.counter("system.network_io", &[("device", &device), ("direction", "transmit")], "By", sent);
            }
        }
    }
}

/// Points of one collection.
struct Batch {
    now: Timestamp,
    points: MetricBatch,
}

impl Batch {
    /// Adds a share in percent, to two decimals: more is noise, and would take twice the bytes on disk.
    fn percent(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.gauge(name, labels, "%", (value * 100.0).round() / 100.0);
    }

    fn gauge(&mut self, name: &str, labels: &[(&str, &str)], unit: &str, value: f64) {
        self.push(name, labels, MetricKind::Gauge, unit, value);
    }

    fn counter(&mut self, name: &str, labels: &[(&str, &str)], unit: &str, value: f64) {
        self.push(name, labels, MetricKind::Counter, unit, value);
    }

    fn push(&mut self, name: &str, labels: &[(&str, &str)], kind: MetricKind, unit: &str, value: f64) {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let series = SeriesKey::new(name, labels);
        self.points.push(MetricPoint { series, kind, unit: unit.to_owned(), timestamp: self.now, value, delta: false });
    }

    /// Adds the host's own counters and gauges.
    fn own(&mut self, own: &SelfMetrics) {
        let timestamp = self.now;
        let point = |(series, kind, value)| MetricPoint { series, kind, unit: String::new(), timestamp, value, delta: false };
        self.points.extend(own.snapshot().into_iter().map(point));
    }
}

/// Space of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Space {
    size: f64,
    /// What is not in use, including what is kept back for root.
    free: f64,
    /// What anyone may still use.
    available: f64,
}

impl Space {
    /// Returns the share in use as `df` counts it: of what is not kept back for root.
    fn used_percent(self) -> f64 {
        let used = self.size - self.free;
        if used + self.available > 0.0 { used / (used + self.available) * 100.0 } else { 0.0 }
    }
}

fn space(path: &Path) -> Option<Space> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks as f64 * stat.f_frsize as f64;
    (stat.f_blocks > 0).then(|| Space { size: bytes(stat.f_blocks), free: bytes(stat.f_bfree), available: bytes(stat.f_bavail) })
}

/// Returns whether a mount holds data of this machine: an overlay only as the root of a container.
fn is_real(fstype: &str, mountpoint: &Path) -> bool {
    !PSEUDO.contains(&fstype) && (fstype != "overlay" || mountpoint == Path::new("/"))
}

/// Returns CPU, mode and seconds of each `cpuN` line of `/proc/stat`.
fn cpu_seconds(stat: &str) -> impl Iterator<Item = (&str, &'static str, f64)> {
    let lines = stat.lines().filter_map(|line| {
        let (cpu, counts) = line.strip_prefix("cpu")?.split_once(' ')?;
        (!cpu.is_empty()).then_some((cpu, counts))
    });
    lines.flat_map(|(cpu, counts)| {
        let ticks = counts.split_ascii_whitespace().map_while(|count| count.parse::<f64>().ok());
        CPU_MODES.into_iter().zip(ticks).map(move |(mode, ticks)| (cpu, mode, ticks / TICKS_PER_SECOND))
    })
}

/// Returns the number of processes: the numbers among the names of `/proc`, which is all that is read.
fn process_count() -> Option<usize> {
    let is_process = |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
    Some(std::fs::read_dir("/proc").ok()?.flatten().filter(is_process).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::metrics::MetricsSettings;

    #[test]
    fn modes_of_each_cpu_are_read_in_seconds() {
        let stat = "cpu  300 0 0 0 0 0 0 0 0 0\ncpu0 150 25 50 1000 5 0 1 2 0 0\ncpu1 1 2\nintr 7\n";
        let read: Vec<_> = cpu_seconds(stat).collect();
        assert_eq!(read.len(), 10);
        assert_eq!((read[0], read[3], read[9]), (("0", "user", 1.5), ("0", "idle", 10.0), ("1", "nice", 0.02)));
    }

    #[test]
    fn pseudo_file_systems_and_overlays_of_containers_are_left_out() {
        let real = |fstype, mountpoint| is_real(fstype, Path::new(mountpoint));
        assert!(real("ext4", "/home") && real("overlay", "/"));
        assert!(!real("tmpfs", "/tmp") && !real("overlay", "/var/lib/docker/overlay2/x/merged") && !real("proc", "/proc"));
    }

    #[test]
    fn usage_is_what_df_says() {
        let space = Space { size: 100.0, free: 25.0, available: 20.0 };
        assert!((space.used_percent() - 78.947).abs() < 0.001);
    }

    #[test]
    fn a_machine_has_the_names_of_the_specification() {
        let mut machine = Machine::new(PathBuf::from("/")).unwrap();
        let own = SelfMetrics::default();
        own.counter("x_total", &[]).inc();
        let batch = machine.measure(Timestamp::from_seconds(1_795_391_047), &own);
        for name in ["system.cpu_percent", "system.memory_percent", "system.process_count", "process_memory_mb", "x_total"] {
            let point = batch.iter().find(|point| point.series.name == name).unwrap_or_else(|| panic!("{name} is missing"));
            assert!(point.value.is_finite() && point.value >= 0.0, "{name}: {}", point.value);
        }
        let percents = batch.iter().filter(|point| point.unit == "%" && point.series.name.starts_with("system."));
        assert!(percents.clone().all(|point| (0.0..=100.0).contains(&point.value)), "{:?}", percents.collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_collector_measures_at_once_and_then_every_interval() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, own) = (Clock::manual(Timestamp::from_seconds(1_795_391_047)), SelfMetrics::default());
        let metrics = Metrics::open(folder.path(), MetricsSettings::default(), clock.clone(), own.clone()).unwrap();
        let mut changed = metrics.changed();
        let (performance, shutdown) = (Config::default().performance, CancellationToken::new());
        let data_dir = folder.path().to_owned();
        let collector = tokio::spawn(collect(metrics.clone(), own, performance, data_dir, clock.clone(), shutdown.clone()));
        changed.changed().await.unwrap();
        clock.advance(Duration::from_secs(30));
        changed.changed().await.unwrap();
        shutdown.cancel();
        collector.await.unwrap();
        let read = metrics.recent("system_cpu_percent", &[], Timestamp::ZERO);
        assert_eq!((read.len(), read[0].samples.len()), (1, 2));
        assert!(metrics.names().contains(&"watchfire_data_available_bytes".to_owned()));
    }
}
