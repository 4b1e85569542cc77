//! Logs as common programs write them: what repeats repeats, few clients are busy, a request has one id in all its lines.

use fastrand::Rng;

/// A value of an attribute, or of a resource.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Text(String),
    Int(i64),
    Float(f64),
}

/// One record, and how long it was as the program wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Microseconds since the one before it.
    pub(crate) after: u64,
    pub(crate) severity: (u8, &'static str),
    pub(crate) service: usize,
    pub(crate) body: String,
    pub(crate) fields: Vec<(&'static str, Field)>,
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    /// Bytes of the line in the file.
    pub(crate) raw_bytes: usize,
}

/// What writes.
pub(crate) const KINDS: [&str; 5] = ["nginx", "json", "syslog", "java", "kubernetes"];

const INFO: (u8, &str) = (9, "INFO");
const DEBUG: (u8, &str) = (5, "DEBUG");
const WARN: (u8, &str) = (13, "WARN");
const ERROR: (u8, &str) = (17, "ERROR");

/// Makes entries; the same seed makes the same ones.
pub(crate) struct Writer {
    random: Rng,
    /// The request that is under way in `json`, and how many more lines it has.
    request: ([u8; 16], usize),
    uptime: f64,
}

impl Writer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), request: ([0; 16], 0), uptime: 120_000.0 }
    }

    pub(crate) fn entry(&mut self, kind: &str) -> Entry {
        match kind {
            "nginx" => self.nginx(),
            "json" => self.json(),
            "syslog" => self.syslog(),
            "java" => self.java(),
            _ => self.kubernetes(),
        }
    }

    /// Few of `count` things come often.
    fn skewed(&mut self, count: usize) -> usize {
        (count as f64 * self.random.f64().powi(4)) as usize
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let place = self.skewed(list.len());
        list[place]
    }

    /// Milliseconds as they are distributed: mostly short.
    fn millis(&mut self, typical: f64) -> f64 {
        let spread = -self.random.f64().max(1e-9).ln();
        typical * 0.3 + typical * spread
    }

    fn client(&mut self) -> String {
        let number = self.skewed(4_000) as u64;
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{}.{}.{}.{}", 20 + hash % 190, (hash >> 8) & 255, (hash >> 16) & 255, (hash >> 24) & 255)
    }

    fn plain(severity: (u8, &'static str), service: usize, body: String, prefix: usize, after: u64) -> Entry {
        let raw_bytes = prefix + body.len() + 1;
        Entry { after, severity, service, body, fields: Vec::new(), trace_id: [0; 16], span_id: [0; 8], raw_bytes }
    }

    fn nginx(&mut self) -> Entry {
        const AGENTS: [&str; 8] = [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Safari/605.1.15",
            "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "kube-probe/1.29",
            "curl/8.5.0",
        ];
        const PAGES: [&str; 8] =
            ["/", "/static/app.5f3a9c.js", "/static/site.css", "/favicon.ico", "/login", "/cart", "/healthz", "/search?q=shoes"];
        let path = match self.random.u8(..10) {
            0..5 => self.pick(&PAGES).to_owned(),
            5..8 => format!("/product/{}", 10_000 + self.skewed(20_000)),
            8 => format!("/api/v2/users/{}/orders?page={}", 1_000 + self.skewed(30_000), 1 + self.skewed(9)),
            _ => format!("/images/{}/{}.webp", self.pick(&["s", "m", "l"]), 10_000 + self.skewed(20_000)),
        };
        let status = self.pick(&[200, 200, 200, 304, 200, 404, 301, 500]);
        let bytes = if status == 304 {
            0
        } else {
            500 + path.len() as u64 * 911 % 40_000 + if path.contains('?') { self.random.u64(..2_000) } else { 0 }
        };
        let referer = if self.random.u8(..) < 150 { "-" } else { "https://shop.example.com/" };
        let (client, agent, millis) = (self.client(), self.pick(&AGENTS), self.millis(0.02));
        let method = if self.random.u8(..) < 235 { "GET" } else { "POST" };
        // The time in brackets becomes the record's own.
        let body = format!("{client} - - \"{method} {path} HTTP/1.1\" {status} {bytes} \"{referer}\" \"{agent}\" {millis:.3}");
        let after = self.random.u64(..20_000);
        Self::plain(INFO, 0, body, 29, after)
    }

    fn json(&mut self) -> Entry {
        if self.request.1 == 0 {
            self.request =
                ((0..16).map(|_| self.random.u8(..)).collect::<Vec<_>>().try_into().unwrap_or_default(), 3 + self.skewed(9));
        }
        self.request.1 -= 1;
        let user = 1_000 + self.skewed(50_000);
        let (logger, severity, message) = match self.random.u8(..8) {
            0 | 1 => (
                "http.access",
                INFO,
                format!(
                    "{} {} completed with {}",
                    self.pick(&["GET", "POST", "PUT"]),
                    self.pick(&["/api/cart", "/api/orders", "/api/products", "/api/me"]),
                    self.pick(&[200, 200, 201, 404, 500])
                ),
            ),
            2 => ("db.query", DEBUG, format!("query returned {} rows in {:.2} ms", self.skewed(300), self.millis(3.0))),
            3 => ("cache", DEBUG, format!("cache {} for product:{}", self.pick(&["hit", "miss"]), self.skewed(20_000))),
            4 => (
                "orders",
                INFO,
                format!(
                    "order {} placed by user {user}: {} items, {:.2} EUR",
                    7_000_000 + self.skewed(900_000),
                    1 + self.skewed(12),
                    5.0 + self.millis(60.0)
                ),
            ),
            5 => (
                "payments",
                WARN,
                format!("payment provider slow: {:.0} ms, attempt {} of 3", self.millis(900.0), 1 + self.skewed(3)),
            ),
            6 => ("auth", INFO, format!("token issued for user {user}, expires in 3600 s")),
            _ => (
                "worker",
                INFO,
                format!(
                    "job {} done in {:.1} s",
                    self.pick(&["send_mail", "resize_image", "sync_stock", "rebuild_index"]),
                    self.millis(1.5)
                ),
            ),
        };
        let fields = vec![
            ("logger", Field::Text(logger.into())),
            ("thread", Field::Text(format!("worker-{}", 1 + self.skewed(16)))),
            ("duration_ms", Field::Float((self.millis(12.0) * 100.0).round() / 100.0)),
            ("user_id", Field::Int(user as i64)),
            ("remote_addr", Field::Text(self.client())),
            ("version", Field::Text("2.14.3".into())),
        ];
        let trace_id = self.request.0;
        let span_id = self.random.u64(..).to_le_bytes();
        let raw_bytes = 60
            + message.len()
            + 70
            + fields
                .iter()
                .map(|(key, field)| {
                    key.len()
                        + 6
                        + match field {
                            Field::Text(text) => text.len(),
                            Field::Int(value) => value.to_string().len(),
                            Field::Float(value) => value.to_string().len(),
                        }
                })
                .sum::<usize>();
        Entry {
            after: self.random.u64(..4_000),
            severity,
            service: self.skewed(4),
            body: message,
            fields,
            trace_id,
            span_id,
            raw_bytes,
        }
    }

    fn syslog(&mut self) -> Entry {
        let pid = 700 + self.skewed(3_000);
        self.uptime += self.random.f64();
        let body = match self.random.u8(..9) {
            0 => format!(
                "sshd[{pid}]: Failed password for invalid user {} from {} port {} ssh2",
                self.pick(&["admin", "test", "oracle", "ubuntu", "postgres"]),
                self.client(),
                30_000 + self.random.u32(..30_000)
            ),
            1 => format!(
                "sshd[{pid}]: Connection closed by authenticating user root {} port {} [preauth]",
                self.client(),
                30_000 + self.random.u32(..30_000)
            ),
            2 => format!("CRON[{pid}]: (root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)"),
            3 => format!("systemd[1]: Started session-{pid}.scope - Session {pid} of User deploy."),
            4 => format!(
                "kernel: [{:.6}] [UFW BLOCK] IN=eth0 OUT= MAC=52:54:00:8b:1d:2a:fe:54:00:8b:1d:2a:08:00 SRC={} DST=10.0.0.4 LEN=40 TOS=0x00 PREC=0x00 TTL={} ID={} PROTO=TCP SPT={} DPT={} WINDOW=1024 RES=0x00 SYN URGP=0",
                { self.uptime },
                self.client(),
                230 + self.skewed(20),
                self.random.u16(..),
                self.random.u16(1024..),
                self.pick(&[22, 23, 3389, 8080, 5432])
            ),
            5 => "systemd[1]: logrotate.service: Deactivated successfully.".to_owned(),
            6 => format!("dhclient[812]: DHCPREQUEST for 10.0.0.4 on eth0 to 10.0.0.1 port 67 (xid=0x{:08x})", self.random.u32(..)),
            7 => format!(
                "systemd-resolved[655]: Using degraded feature set UDP instead of UDP+EDNS0 for DNS server 10.0.0.{}.",
                1 + self.skewed(4)
            ),
            _ => format!(
                "dockerd[1201]: time=\"2026-03-01T10:{:02}:{:02}.{:09}Z\" level=info msg=\"ignoring event\" container={:016x}{:016x}{:016x}{:016x} module=libcontainerd namespace=moby topic=/tasks/delete type=\"*events.TaskDelete\"",
                self.random.u8(..60),
                self.random.u8(..60),
                self.random.u32(..1_000_000_000),
                self.random.u64(..),
                self.random.u64(..),
                self.random.u64(..),
                self.random.u64(..)
            ),
        };
        let after = self.random.u64(..600_000);
        Self::plain(INFO, 0, body, 21, after)
    }

    fn java(&mut self) -> Entry {
        let thread = format!("http-nio-8080-exec-{}", 1 + self.skewed(50));
        let id = 4_000_000 + self.skewed(600_000);
        let (severity, text) = match self.random.u8(..40) {
            0 => (
                ERROR,
                format!(
                    "c.e.shop.api.GlobalExceptionHandler : Request failed for order {id}\njava.lang.IllegalStateException: Order {id} is already closed\n\tat com.example.shop.order.OrderService.close(OrderService.java:214)\n\tat com.example.shop.order.OrderController.close(OrderController.java:88)\n\tat jdk.internal.reflect.DirectMethodHandleAccessor.invoke(DirectMethodHandleAccessor.java:103)\n\tat org.springframework.web.method.support.InvocableHandlerMethod.doInvoke(InvocableHandlerMethod.java:255)\n\tat org.springframework.web.servlet.DispatcherServlet.doDispatch(DispatcherServlet.java:1089)\n\tat org.apache.tomcat.util.net.SocketProcessorBase.run(SocketProcessorBase.java:52)\n\tat java.base/java.lang.Thread.run(Thread.java:1583)"
                ),
            ),
            1..4 => (
                WARN,
                format!(
                    "c.zaxxer.hikari.pool.PoolBase : HikariPool-1 - Failed to validate connection org.postgresql.jdbc.PgConnection@{:x} (This connection has been closed.)",
                    self.random.u32(0x1000_0000..)
                ),
            ),
            4..16 => (
                INFO,
                format!(
                    "c.e.shop.order.OrderService : Order {id} processed in {:.0} ms, total {:.2} EUR, warehouse {}",
                    self.millis(35.0),
                    5.0 + self.millis(70.0),
                    self.pick(&["BER", "MUC", "HAM"])
                ),
            ),
            16..28 => (
                DEBUG,
                format!(
                    "o.h.SQL : select o.id, o.customer_id, o.created_at, o.status from orders o where o.id=? [bind: {id}] ({:.0} ms)",
                    self.millis(4.0)
                ),
            ),
            28..34 => (
                INFO,
                format!(
                    "c.e.shop.stock.StockClient : Reserved {} of SKU-{:05} for order {id}, response {} after {} ms",
                    1 + self.skewed(5),
                    self.skewed(20_000),
                    self.pick(&[200, 200, 409]),
                    self.skewed(300)
                ),
            ),
            _ => (
                INFO,
                format!(
                    "c.e.shop.mail.MailSender : Queued mail {:08x}-{:04x}-4{:03x}-a{:03x}-{:012x} to customer {}",
                    self.random.u32(..),
                    self.random.u16(..),
                    self.random.u16(..0x1000),
                    self.random.u16(..0x1000),
                    self.random.u64(..1 << 48),
                    self.skewed(90_000)
                ),
            ),
        };
        let body = format!("[{thread}] {text}");
        let after = self.random.u64(..9_000);
        Self::plain(severity, 0, body, 34, after)
    }

    fn kubernetes(&mut self) -> Entry {
        let body = match self.random.u8(..6) {
            0 => format!(
                "Successfully assigned default/web-{:x}-{} to node-{}",
                0x07d9_c5b6 + self.skewed(40),
                self.pick(&["x8k2p", "q9z4m", "t5w7n", "b2c6d"]),
                1 + self.skewed(12)
            ),
            1 => format!(
                "Reconciling Deployment \"web\" in namespace \"{}\" generation={}",
                self.pick(&["default", "shop", "billing"]),
                self.skewed(400)
            ),
            2 => format!(
                "HTTP probe succeeded: GET http://10.42.{}.{}:8080/healthz in {:.3}ms",
                self.skewed(12),
                2 + self.skewed(240),
                self.millis(1.2)
            ),
            3 => format!(
                "Trace[{}]: \"List\" url:/api/v1/pods,user-agent:kube-controller-manager/v1.29.4,client:10.0.0.{} (total time: {:.0}ms)",
                self.random.u32(..),
                2 + self.skewed(9),
                self.millis(620.0)
            ),
            4 => format!("Scaled up replica set web-7d9c5b6f8 to {} from {}", 3 + self.skewed(5), 3),
            _ => format!("Garbage collected {} images, freed {} bytes", self.skewed(9), self.random.u64(..1 << 30)),
        };
        let pod = self.skewed(60);
        let fields = vec![
            ("k8s.container.name", Field::Text(self.pick(&["web", "sidecar", "agent"]).into())),
            (
                "k8s.pod.uid",
                Field::Text(format!(
                    "{:08x}-{:04x}-4a1b-9c3d-{:012x}",
                    (pod as u32 + 1).wrapping_mul(0x9e37_79b9),
                    pod * 517 % 65_536,
                    (pod as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a) & 0xffff_ffff_ffff
                )),
            ),
            ("log.iostream", Field::Text(self.pick(&["stderr", "stdout"]).into())),
            ("log.file.path", Field::Text(format!("/var/log/pods/default_web-{pod}_0/web/0.log"))),
            ("restart_count", Field::Int(self.skewed(4) as i64)),
        ];
        let raw_bytes = 45
            + body.len()
            + fields
                .iter()
                .map(|(key, field)| {
                    key.len()
                        + 6
                        + match field {
                            Field::Text(text) => text.len(),
                            Field::Int(value) => value.to_string().len(),
                            Field::Float(value) => value.to_string().len(),
                        }
                })
                .sum::<usize>();
        Entry {
            after: self.random.u64(..30_000),
            severity: INFO,
            service: self.skewed(6),
            body,
            fields,
            trace_id: [0; 16],
            span_id: [0; 8],
            raw_bytes,
        }
    }
}
