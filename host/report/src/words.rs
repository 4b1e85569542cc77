//! The words of a report, in English and Chinese.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese, simplified.
    Zh,
}

impl Lang {
    /// Returns the language of this name: `en`, `zh`, or a longer tag that begins so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().split(['-', '_']).next() {
            Some("en") => Some(Self::En),
            Some("zh") => Some(Self::Zh),
            _ => None,
        }
    }

    /// Returns its tag, as HTML wants it.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-CN",
        }
    }

    /// Returns its words.
    #[must_use]
    pub const fn words(self) -> &'static Words {
        match self {
            Self::En => &ENGLISH,
            Self::Zh => &CHINESE,
        }
    }
}

/// Words that stand alone; whole sentences are made in [`crate::sentences`].
#[derive(Debug)]
pub struct Words {
    pub title: &'static str,
    pub to: &'static str,
    pub made_at: &'static str,
    pub records: &'static str,
    pub errors: &'static str,
    pub anomalies: &'static str,
    pub alerts: &'static str,
    pub volume: &'static str,
    pub volume_chart: &'static str,
    pub by_source: &'static str,
    pub by_level: &'static str,
    pub source: &'static str,
    pub level: &'static str,
    pub count: &'static str,
    pub before: &'static str,
    pub change: &'static str,
    pub share: &'static str,
    pub pattern: &'static str,
    pub template: &'static str,
    pub top_patterns: &'static str,
    pub new_patterns: &'static str,
    pub first_seen: &'static str,
    pub issues: &'static str,
    pub issue: &'static str,
    pub status: &'static str,
    pub times: &'static str,
    pub rule: &'static str,
    pub started: &'static str,
    pub ended: &'static str,
    pub going_on: &'static str,
    pub metrics: &'static str,
    pub metric: &'static str,
    pub now: &'static str,
    pub mean: &'static str,
    pub greatest: &'static str,
    pub days_before: &'static str,
    pub what_it_means: &'static str,
    pub none: &'static str,
    pub no_source: &'static str,
    pub no_level: &'static str,
    pub notes: &'static str,
    pub warnings: &'static str,
    pub others: &'static str,
    pub new: &'static str,
    pub when: &'static str,
    pub what: &'static str,
    pub how_sure: &'static str,
    pub no_previous: &'static str,
    pub no_patterns: &'static str,
    pub no_detectors: &'static str,
}

const ENGLISH: Words = Words {
    title: "Report",
    to: "to",
    made_at: "made at",
    records: "log records",
    errors: "errors",
    anomalies: "Unusual",
    alerts: "Alerts",
    volume: "Volume",
    volume_chart: "Log records over time",
    by_source: "By source",
    by_level: "By level",
    source: "source",
    level: "level",
    count: "records",
    before: "before",
    change: "change",
    share: "share",
    pattern: "pattern",
    template: "template",
    top_patterns: "Most frequent patterns",
    new_patterns: "New patterns",
    first_seen: "first seen",
    issues: "Errors",
    issue: "issue",
    status: "status",
    times: "times",
    rule: "rule",
    started: "from",
    ended: "to",
    going_on: "still going on",
    metrics: "This machine, against the days before",
    metric: "metric",
    now: "now",
    mean: "mean",
    greatest: "greatest",
    days_before: "days before",
    what_it_means: "trend",
    none: "None.",
    no_source: "(no source)",
    no_level: "(no level)",
    notes: "What this report could not tell",
    warnings: "warnings",
    others: "others",
    new: "new",
    when: "when",
    what: "what",
    how_sure: "expected, and how sure it is",
    no_previous: "Of the period before there are no records, so nothing is compared with it.",
    no_patterns: "No pattern has been found in these records.",
    no_detectors: "The detectors of unusual things do not run: `log_analysis.auto_start` is false.",
};

const CHINESE: Words = Words {
    title: "分析报告",
    to: "至",
    made_at: "生成于",
    records: "条日志",
    errors: "条错误",
    anomalies: "异常",
    alerts: "告警",
    volume: "日志量",
    volume_chart: "日志量随时间的变化",
    by_source: "按来源",
    by_level: "按级别",
    source: "来源",
    level: "级别",
    count: "条数",
    before: "上一时段",
    change: "变化",
    share: "占比",
    pattern: "模式",
    template: "模板",
    top_patterns: "最常见的模式",
    new_patterns: "新出现的模式",
    first_seen: "首次出现",
    issues: "错误",
    issue: "问题",
    status: "状态",
    times: "次数",
    rule: "规则",
    started: "开始",
    ended: "结束",
    going_on: "仍在持续",
    metrics: "本机指标与前几天的比较",
    metric: "指标",
    now: "当前",
    mean: "平均",
    greatest: "最高",
    days_before: "前几天",
    what_it_means: "趋势",
    none: "无。",
    no_source: "（无来源）",
    no_level: "（无级别）",
    notes: "本报告未能说明的内容",
    warnings: "警告",
    others: "其他",
    new: "新增",
    when: "时间",
    what: "内容",
    how_sure: "预期与可信度",
    no_previous: "没有上一时段的日志，因此未作比较。",
    no_patterns: "这些日志中尚未识别出模式。",
    no_detectors: "异常检测未运行：`log_analysis.auto_start` 为 false。",
};
