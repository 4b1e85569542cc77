// The small page: status, firing alerts, findings, unresolved errors, recent logs. A client of the public API, like any other.
'use strict';

const WORDS = {
  zh: {
    machine: '本机', alerts: '正在告警', parts: '组件', logs: '最近日志', all: '所有级别', pause: '暂停', resume: '继续', search: '搜索：timeout level>=warn service:api | stats count by service', found: '条', partial: '未完成：时间已到', more: '还有更多',
    none: '没有正在触发的告警', up: '运行', records: '条日志', series: '个指标序列', away: '无法连接主机', processes: '进程', cpu: 'CPU', memory: '内存', disk: '磁盘', network: '网络 收/发',
    ok: '正常', degraded: '异常', inactive: '未启用', since: '自',
    findings: '最近的发现', none_findings: '过去一天没有发现', issues: '未解决的错误', none_issues: '没有未解决的错误', times: '次', resolve: '标为已解决',
  },
  en: {
    machine: 'This machine', alerts: 'Firing alerts', parts: 'Parts', logs: 'Recent logs', all: 'all levels', pause: 'Pause', resume: 'Resume', search: 'timeout level>=warn service:api | stats count by service', found: 'records', partial: 'not all: the time was up', more: 'there is more',
    none: 'Nothing is firing.', up: 'up', records: 'log records', series: 'metric series', away: 'the host does not answer', processes: 'Processes', cpu: 'CPU', memory: 'Memory', disk: 'Disk', network: 'Network in / out',
    ok: 'ok', degraded: 'degraded', inactive: 'inactive', since: 'since',
    findings: 'Findings of the last day', none_findings: 'Analyzers have found nothing.', issues: 'Unresolved errors', none_issues: 'No unresolved errors.', times: 'times', resolve: 'Resolve',
  },
};
const language = navigator.language.startsWith('zh') ? 'zh' : 'en';
const say = (word) => WORDS[language][word] ?? word;
const at = (id) => document.getElementById(id);

document.documentElement.lang = language;
document.querySelectorAll('[data-text]').forEach((node) => { node.textContent = say(node.dataset.text); });
document.querySelectorAll('[data-hint]').forEach((node) => { node.placeholder = node.ariaLabel = say(node.dataset.hint); });

// Text only ever goes in as text: a log line cannot become markup.
function element(tag, text, className) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}
function fill(node, children) { node.replaceChildren(...children); }

async function ask(path) {
  const response = await fetch(path, { headers: { accept: 'application/json' } });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? response.statusText);
  return answer;
}

const bytes = (number) => {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) { number /= 1000; unit += 1; }
  return `${number.toFixed(unit && number < 100 ? 1 : 0)} ${units[unit]}`;
};
const duration = (seconds) => (seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`);
const clock = (time) => new Date(time).toLocaleTimeString(language, { hour12: false }) + '.' + String(new Date(time).getMilliseconds()).padStart(3, '0');
const percent = (number) => (number == null ? '–' : `${number.toFixed(1)} %`);

// What is inactive is one line; why is in its tooltip.
function quiet(parts) {
  if (!parts.length) return [];
  const item = element('li', `${say('inactive')}: ${parts.map((part) => part.name).join(', ')}`, 'quiet');
  item.title = parts.map((part) => `${part.name}: ${part.detail}`).join('\n');
  return [item];
}

function issue(one) {
  const item = element('li', '');
  const button = element('button', say('resolve'));
  button.type = 'button';
  button.addEventListener('click', async () => {
    button.disabled = true;
    // What went wrong shows at the next refresh.
    await fetch(`api/v1/issues/${one.id}/resolve`, { method: 'POST' }).catch(() => null);
    refresh();
  });
  const where = [one.service, one.culprit].filter(Boolean).join(' · ');
  item.append(element('strong', one.level, one.level), ` ${one.title} `, element('small', `${where} · ${one.count.toLocaleString()} ${say('times')} · ${clock(one.last_seen)} `), button);
  return item;
}

const LEVELS = ['', 'TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

function finding(one) {
  const item = element('li', '');
  const level = LEVELS[Math.ceil(one.severity_number / 4)] ?? '';
  item.append(element('strong', level, level), ` ${one.title} `, element('small', `${one.plugin} · ${one.rule} · ${clock(one.last_at)}`));
  item.title = one.message;
  return item;
}

async function refresh() {
  try {
    const [status, health, alerts, issues, findings] = await Promise.all([
      ask('api/v1/status'), ask('api/v1/health'), ask('api/v1/alerts?state=firing'), ask('api/v1/issues?status=unresolved&limit=10'),
      ask('api/v1/findings?since=1d&limit=10'),
    ]);
    fill(at('state'), [
      element('strong', say(status.state), status.state),
      element('span', ` · ${status.version} · ${say('up')} ${duration(status.uptime_seconds)} · ${status.logs.records.toLocaleString()} ${say('records')} (${bytes(status.logs.bytes)}) · ${status.metrics.series} ${say('series')}`),
    ]);
    fill(at('parts'), [
      ...status.parts.filter((part) => part.state !== 'inactive').map((part) => {
        const item = element('li', '');
        item.append(element('span', say(part.state), part.state), ` ${part.name} `, element('small', [part.detail, part.hint].filter(Boolean).join(' — ')));
        return item;
      }),
      ...quiet(status.parts.filter((part) => part.state === 'inactive')),
      ...status.warnings.map((warning) => element('li', warning, 'WARN')),
    ]);
    const network = health.network_io;
    fill(at('health'), [
      ['cpu', percent(health.cpu_percent)], ['memory', percent(health.memory_percent)], ['disk', percent(health.disk_usage_percent)],
      ['processes', health.process_count ?? '–'], ['network', network ? `${bytes(network.receive_bytes)} / ${bytes(network.transmit_bytes)}` : '–'],
    ].flatMap(([word, value]) => [element('dt', say(word)), element('dd', value)]));
    fill(at('alerts'), alerts.alerts.length ? alerts.alerts.map((alert) => {
      const item = element('li', '');
      const labels = Object.entries(alert.labels ?? {}).filter(([name]) => name !== 'alertname').map(([name, value]) => `${name}=${value}`).join(' ');
      item.append(element('strong', alert.level ?? '', alert.level), ` ${alert.rule} `, element('small', `${labels} ${alert.annotations?.summary ?? ''} ${alert.fired_at ? `${say('since')} ${clock(alert.fired_at)}` : ''}`));
      return item;
    }) : [element('li', say('none'), 'quiet')]);
    fill(at('findings'), findings.findings.length ? findings.findings.map(finding) : [element('li', say('none_findings'), 'quiet')]);
    fill(at('issues'), issues.issues.length ? issues.issues.map(issue) : [element('li', say('none_issues'), 'quiet')]);
  } catch (error) {
    fill(at('state'), [element('strong', `${say('away')}: ${error.message}`, 'degraded')]);
  }
}

const MOST_LINES = 200;
let tail = null;
let paused = false;
let last = null;

function line(record) {
  const item = element('li', '');
  const level = record.severity_text || '';
  const name = LEVELS[Math.ceil(record.severity_number / 4)] ?? '';
  const body = typeof record.body === 'string' ? record.body : JSON.stringify(record.body);
  const time = element('time', clock(record.timestamp));
  time.dateTime = record.timestamp;
  item.append(time, element('span', name || level, name), element('span', record.resource?.['service.name'] ?? '', 'quiet'), element('span', body));
  item.title = Object.entries(record.attributes ?? {}).map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`).join('\n');
  return item;
}

function filters() {
  const params = new URLSearchParams();
  if (at('query').value.trim()) params.set('q', at('query').value.trim());
  if (at('level').value) params.set('level', at('level').value);
  params.set('zone', Intl.DateTimeFormat().resolvedOptions().timeZone ?? 'UTC');
  return params;
}

// The query up to its first pipe, which is not within quotes.
function conditions(text) {
  const end = [...text.matchAll(/"(?:\\.|[^"\\])*"|\|/g)].find((match) => match[0] === '|');
  return (end ? text.slice(0, end.index) : text).trim();
}

const SVG = 'http://www.w3.org/2000/svg';
function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return node;
}

// Counts over time by level, stacked; a bar narrows the query to its time.
async function chart(asked) {
  const params = filters();
  const query = conditions(params.get('q') ?? '');
  params.set('q', query);
  params.set('buckets', '80');
  if (!/\bsince:/.test(query)) params.set('since', '1h');
  const answer = await ask(`api/v1/logs/histogram?${params}`);
  if (asked !== newest) return;
  at('chart').hidden = !answer.total;
  if (!answer.total) return;
  const width = answer.series[0].counts.length;
  const sums = answer.series[0].counts.map((_, bar) => answer.series.reduce((sum, series) => sum + series.counts[bar], 0));
  const most = Math.max(...sums);
  const start = Date.parse(answer.since);
  const time = (bar) => new Date(start + bar * answer.step_seconds * 1000);
  const order = ['FATAL', 'ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE', '(none)'];
  const series = answer.series.toSorted((left, right) => order.indexOf(left.name) - order.indexOf(right.name));
  at('bars').setAttribute('viewBox', `0 0 ${width} 100`);
  at('bars').setAttribute('aria-label', `${answer.total.toLocaleString()} ${say('found')}`);
  fill(at('bars'), sums.map((sum, bar) => {
    const group = shape('g', {});
    group.append(shape('rect', { class: 'room', x: bar, y: 0, width: 1, height: 100 }));
    let top = 100;
    for (const one of series) {
      const height = (100 * one.counts[bar]) / most;
      top -= height;
      if (height) group.append(shape('rect', { class: one.name, x: bar + 0.08, y: top, width: 0.84, height }));
    }
    const title = shape('title', {});
    title.textContent = [time(bar).toLocaleString(language), ...series.filter((one) => one.counts[bar]).map((one) => `${one.name} ${one.counts[bar].toLocaleString()}`)].join('\n');
    group.append(title);
    group.addEventListener('click', () => {
      const rest = query.replace(/(?<![\w-])(since|until):\S+/g, '').trim();
      at('query').value = `since:${time(bar).toISOString()} until:${time(bar + 1).toISOString()} ${rest}`.trim();
      search();
    });
    return group;
  }));
  fill(at('legend'), [
    element('span', time(0).toLocaleString(language)),
    element('span', `${answer.total.toLocaleString()} ${say('found')}: ${answer.series.map((one) => `${one.name} ${one.total.toLocaleString()}`).join(' · ')}`),
    element('span', time(width).toLocaleString(language)),
  ]);
}

function table(answer) {
  const head = element('tr', '');
  head.append(...answer.columns.map((column) => element('th', column)));
  const rows = (answer.rows ?? []).map((row) => {
    const item = element('tr', '');
    item.append(...row.map((value, index) => {
      if (value === null) return element('td', '–', 'quiet');
      if (typeof value === 'number') return element('td', value.toLocaleString(language), 'number');
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      const isTime = answer.columns[index] === 'time' || answer.columns[index] === 'timestamp';
      return element('td', isTime ? new Date(text).toLocaleString(language) : text, LEVELS.includes(text) ? text : '');
    }));
    return item;
  });
  fill(at('table'), [head, ...rows]);
}

// What the query could go on with, as the browser's own list.
async function suggest() {
  const text = at('query').value;
  const answer = await ask(`api/v1/logs/complete?${new URLSearchParams({ q: text })}`).catch(() => null);
  if (!answer || at('query').value !== text) return;
  const kept = new TextDecoder().decode(new TextEncoder().encode(text).slice(0, answer.from));
  fill(at('suggestions'), answer.items.slice(0, 12).map((item) => Object.assign(document.createElement('option'), { value: kept + item.text })));
}

function follow() {
  tail?.close();
  const params = filters();
  if (last) params.set('after', last);
  tail = new EventSource(`api/v1/logs/tail?${params}`);
  tail.onmessage = (event) => {
    if (!event.data) return;
    last = event.lastEventId;
    at('logs').prepend(line(JSON.parse(event.data)));
    while (at('logs').childElementCount > MOST_LINES) at('logs').lastElementChild.remove();
  };
}

// Answers that come late are those of an older question.
let newest = 0;
let follows = true;

async function search() {
  tail?.close();
  last = null;
  newest += 1;
  const asked = newest;
  chart(asked).catch(() => { at('chart').hidden = true; });
  try {
    const params = filters();
    params.set('limit', '200');
    const answer = await ask(`api/v1/logs/query?${params}`);
    if (asked !== newest) return;
    at('hint').className = '';
    at('hint').textContent = [answer.hint, answer.partial && say('partial'), answer.columns && answer.truncated && say('more')].filter(Boolean).join(' · ');
    const records = answer.records ?? [];
    at('table').hidden = !answer.columns;
    if (answer.columns) table(answer);
    // From the newest seq found; what arrives between this answer and the tail is then not missed.
    const seqs = records.map((record) => BigInt(record.seq));
    last = seqs.length ? String(seqs.reduce((left, right) => (left > right ? left : right))) : null;
    fill(at('logs'), records.map(line));
    follows = !(params.get('q') ?? '').slice(conditions(params.get('q') ?? '').length).trim();
  } catch (error) {
    if (asked !== newest) return;
    at('hint').className = 'wrong';
    at('hint').textContent = error.message;
    return;
  }
  if (!paused && follows) follow();
}

let waiting = null;
at('search').addEventListener('submit', (event) => { event.preventDefault(); search(); });
at('query').addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(() => { search(); suggest(); }, 250); });
at('level').addEventListener('change', search);
// Pausing loses nothing: the tail goes on after the last line shown.
at('pause').addEventListener('click', () => {
  paused = !paused;
  at('pause').textContent = say(paused ? 'resume' : 'pause');
  if (paused) tail?.close(); else if (follows) follow();
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });

refresh();
search();
setInterval(() => { if (!document.hidden) refresh(); }, 5000);
