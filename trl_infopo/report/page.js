"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const COLORS = ["#2f6fd0", "#d9730d", "#2a9d63", "#b0449a", "#8a7a1f", "#c43d3d", "#4aa3a2", "#7a5bd0"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const PAGE = 25;       // groups
const FULL_MOVE = 3;   // nats at which a token has its full shade
const SHADE = 0.65;
const $ = id => document.getElementById(id);

// Text goes in as text: what a policy or a user wrote is never read as HTML
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const number = (x, digits = 2) => x === null || x === undefined ? "none" : String(Number(x.toFixed(digits)));
const signed = x => (x > 0 ? "+" : x < 0 ? "−" : "") + Math.abs(x).toFixed(2);
const color = run => COLORS[run % COLORS.length];
const isTied = rewards => {
  const known = rewards.filter(r => r !== null);
  return known.length > 1 && Math.max(...known) - Math.min(...known) < 1e-6;
};

// ---- runs and curves

for (const [i, run] of data.runs.entries()) {
  const shown = run.num_shown === run.num_rollouts ? "" : `, ${run.num_shown.toLocaleString("en")} of them here`;
  const source = run.is_logged ? "" : "; curves from the traces";
  $("runs").append(make("li", {}, make("span", {class: "chip", style: `--run: ${color(i)}`}), make("b", {}, run.name),
    ` ${run.num_rollouts.toLocaleString("en")} rollouts${shown}${source}`));
}

function drawCurves() {
  const charts = Object.entries(data.curves).map(([key, title]) => [title, data.runs.flatMap((run, i) =>
    run.curves[key] ? [line(run.curves[key], run.name, color(i), "solid")] : [])]);
  const reasons = [...new Set(data.runs.flatMap(run => Object.keys(run.curves).filter(k => k.startsWith(data.stop))))];
  const ended = reasons.filter(key => data.runs.some(run => run.curves[key] && run.curves[key][1].some(y => y > 0)));
  charts.push(["Why dialogues ended", ended.flatMap((key, k) => data.runs.flatMap((run, i) => run.curves[key] ? [
    line(run.curves[key], `${key.slice(data.stop.length)}${data.runs.length > 1 ? `, ${run.name}` : ""}`, COLORS[k],
      DASHES[i % DASHES.length])] : []))]);
  for (const [title, lines] of charts) {
    if (!lines.length) continue;
    const plot = make("div", {role: "img", "aria-label": title});
    $("charts").append(make("div", {class: "chart"}, make("h3", {}, title), plot));
    const stops = title === charts.at(-1)[0];
    Plotly.newPlot(plot, lines, layout(stops), {displayModeBar: false, responsive: true});
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const plot of document.querySelectorAll(".js-plotly-plot")) Plotly.relayout(plot, layout(plot.layout.showlegend));
  });
}

function line([x, y], name, color, dash) {
  return {x, y, name, type: "scatter", mode: x.length > 1 ? "lines" : "markers", line: {color, dash, width: 1.8},
    marker: {color}, hovertemplate: "%{y:.3g}<extra>%{fullData.name}, step %{x}</extra>"};
}

function layout(showlegend) {
  const style = getComputedStyle(document.documentElement);
  const [ink, grid] = [style.getPropertyValue("--faint").trim(), style.getPropertyValue("--line").trim()];
  const axis = {gridcolor: grid, zeroline: false, linecolor: grid};
  return {margin: {l: 42, r: 12, t: 8, b: 28}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {color: ink, size: 11}, xaxis: axis, yaxis: {...axis, rangemode: "tozero"}, showlegend, dragmode: false,
    legend: {orientation: "h", y: -0.15, font: {size: 10}}};
}

// ---- the list of groups

const filters = $("filters").elements;
let matching = [], page = 0, current = null;

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => make("option", {value}, text)));
}
const unique = key => [...new Set(data.groups.map(group => group[key]))];
fill(filters.run, [["", "all"], ...data.runs.map((run, i) => [i, run.name])]);
fill(filters.split, [["", "all"], ...unique("split").map(split => [split, split])]);
fill(filters.step, [["", "all"], ...unique("step").sort((a, b) => a - b).map(step => [step, step])]);
filters.split.value = unique("split").includes("train") ? "train" : "";

function filter() {
  matching = data.groups.flatMap((group, i) => (
    (filters.run.value === "" || group.run === Number(filters.run.value)) &&
    (filters.split.value === "" || group.split === filters.split.value) &&
    (filters.step.value === "" || group.step === Number(filters.step.value)) &&
    (!filters.tied.checked || isTied(group.rewards))) ? [i] : []);
  page = 0;
  drawList();
}

function drawList() {
  const pages = Math.max(Math.ceil(matching.length / PAGE), 1);
  page = Math.min(Math.max(page, 0), pages - 1);
  $("count").textContent = `${matching.length.toLocaleString("en")} groups`;
  $("page").textContent = `${page + 1} of ${pages}`;
  $("previous").disabled = page === 0;
  $("next").disabled = page === pages - 1;
  $("list").replaceChildren(...matching.slice(page * PAGE, (page + 1) * PAGE).map(i => {
    const group = data.groups[i];
    const button = make("button", {type: "button", "data-group": i, "aria-current": i === current,
      onclick: () => { location.hash = `group-${i}`; }});
    button.append(make("span", {}, make("span", {class: "chip", style: `--run: ${color(group.run)}`}),
      `step ${group.step}, group ${group.group}`));
    button.append(isTied(group.rewards) ? make("span", {class: "tag"}, "tied") : "");
    const rewards = group.rewards.length > 12 ? `${group.rewards.length} rollouts`
      : group.rewards.map(r => number(r)).join(" ");
    button.append(make("small", {}, `rewards ${rewards}${group.gain === null ? "" : `; gain ${signed(group.gain)}`}`));
    return make("li", {}, button);
  }));
}

// ---- one group

const chunks = new Map();  // unpacked, the last few
async function unpack(i) {
  const id = Math.floor(i / data.groups_in_chunk);
  if (!chunks.has(id)) {
    const bytes = Uint8Array.from(atob($(`chunk-${id}`).textContent), c => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    chunks.set(id, await new Response(stream).json());
    if (chunks.size > 8) chunks.delete(chunks.keys().next().value);
  }
  return chunks.get(id)[i % data.groups_in_chunk];
}

async function open(i) {
  const rollouts = await unpack(i);
  if (location.hash !== `#group-${i}`) return;  // another one was opened meanwhile
  const group = data.groups[i], run = data.runs[group.run];
  current = i;
  for (const button of $("list").querySelectorAll("button"))
    button.setAttribute("aria-current", Number(button.dataset.group) === i);
  document.body.classList.add("reading");
  const all = make("button", {type: "button", id: "all", "aria-pressed": "false", onclick: toggleAll},
    "Show all counterfactuals");
  const name = data.runs.length > 1 ? `${run.name}, ` : "";
  const split = group.split === "train" ? "" : ` (${group.split})`;
  const shared = numShared(rollouts.map(r => r.prompt));
  $("group").replaceChildren(
    make("h3", {}, `${name}step ${group.step}, group ${group.group}${split}`),
    ...rollouts[0].prompt.slice(0, shared).map(asked),
    make("p", {class: "why"}, why(rollouts)),
    make("div", {class: "tools"}, make("button", {type: "button", id: "back", onclick: close}, "Back to the list"),
      rollouts.some(r => r.turns.some(t => t.masked_feedback !== null)) ? all : ""),
    make("div", {class: "rollouts", tabindex: 0, role: "group", "aria-label": "Rollouts of the group"},
      ...rollouts.map(rollout => card(rollout, run, shared))));
  $("group").focus({preventScroll: true});
  const top = $("group").getBoundingClientRect().top;
  if (top < 0 || top > innerHeight / 3) $("group").scrollIntoView();
}

function close() {
  document.body.classList.remove("reading");
  history.replaceState(null, "", location.pathname + location.search);
  const button = $("list").querySelector("[aria-current=true]") || $("list").querySelector("button");
  if (button) button.focus();
}

// How many messages the prompts of a group begin with in common: all, if `reset` adds nothing of its own
function numShared(prompts) {
  const differs = prompts[0].findIndex((message, i) =>
    prompts.some(prompt => JSON.stringify(prompt[i]) !== JSON.stringify(message)));
  return differs < 0 ? prompts[0].length : differs;
}

const asked = message => make("div", {class: "prompt"}, make("b", {}, message.role), text(message.content));

const text = content => typeof content === "string" ? content : JSON.stringify(content);

// What the group teaches, in words
function why(rollouts) {
  const rewards = rollouts.map(r => r.reward), advantages = rollouts.flatMap(r => r.turns.map(t => t.advantage));
  const gate = rollouts[0].gate, range = v => `${signed(Math.min(...v))} to ${signed(Math.max(...v))}`;
  const known = rewards.filter(r => r !== null);
  if (!known.length) return "No reward function scored these rollouts.";
  if (rollouts.length === 1) return `One rollout, reward ${number(known[0])}.`;
  if (isTied(rewards)) {
    const tied = `All rewards are ${number(known[0])}: the outcome tells these rollouts apart by nothing.`;
    if (gate === null) return `${tied} No gains were scored, so this group teaches nothing.`;
    if (advantages.every(a => Math.abs(a) < 1e-6)) return `${tied} Neither do the gains.`;
    return `${tied} The gate is ${number(gate)}, open, and the gains give the turns advantages of ${range(advantages)}: `
      + "that is what this group teaches.";
  }
  const outcome = `Rewards differ: advantages of the outcome are ${range(rollouts.map(r => r.outcome_advantage))}.`;
  if (gate === null) return `${outcome} No gains were scored.`;
  return `${outcome} The gate is ${number(gate)}; with the gains, those of the turns are ${range(advantages)}.`;
}

function card(rollout, run, shared) {
  const facts = [`reward ${number(rollout.reward)}`, `outcome advantage ${signed(rollout.outcome_advantage)}`];
  const rewards = Object.entries(rollout.rewards).filter(([, value]) => value !== null);
  if (rewards.length > 1) facts.push(...rewards.map(([name, value]) => `${name} ${number(value)}`));
  if (rollout.stop_reason) facts.push(`ended by ${rollout.stop_reason}`);
  if (rollout.user_replies) facts.push(`${rollout.user_replies} replies in ${number(rollout.user_seconds, 1)} s`);
  if (rollout.tool_failures) facts.push(`${rollout.tool_failures} of ${rollout.tool_calls} tool calls failed`);
  const said = make("p", {class: "said", "aria-live": "polite"});
  const largest = Math.max(...rollout.turns.map(t => Math.abs(t.advantage)), 1);
  const turns = rollout.turns.map((turn, k) => {
    const section = make("section", {class: "turn"}, action(turn, said));
    if (turn.feedback !== null) section.append(...feedback(turn, rollout.turns[k + 1]));
    if (turn.information_gain !== null)
      section.append(measure("gain", turn.information_gain, run.full_gain, "gain"));
    section.append(measure("advantage", turn.advantage, largest, "advantage"));
    return section;
  });
  if (!turns.length) turns.push(make("p", {class: "hint"}, "Masked from the loss: no turns."));
  return make("div", {class: "rollout"}, make("h4", {}, `Rollout ${rollout.rollout}`),
    make("p", {class: "facts"}, facts.join("; ")), ...rollout.prompt.slice(shared).map(asked), ...turns, said);
}

function action(turn, said) {
  const line = make("p", {class: "action"}, make("span", {class: "who"}, "agent"));
  turn.tokens.forEach((token, j) => {
    const [logp, masked] = turn.logps ? [turn.logps[j], turn.masked_logps[j]] : [null, null];
    if (logp === null || masked === null) return line.append(token);
    const move = logp - masked, strength = Math.min(Math.abs(move) / FULL_MOVE, 1) * SHADE;
    const note = `${percent(logp)} with the feedback, ${percent(masked)} without: moved by ${signed(move)} nats`;
    line.append(make("span", {class: move < 0 ? "token less" : "token", style: `--strength: ${strength.toFixed(2)}`,
      title: note, onclick: () => { said.textContent = `“${token}”: ${note}`; }}, token));
  });
  return line;
}

function percent(logp) {
  const share = 100 * Math.exp(logp);
  return share >= 1 ? `${share.toFixed(0)} %` : share >= 0.01 ? `${share.toFixed(2)} %` : "less than 0.01 %";
}

function feedback(turn, next) {
  const parts = [make("p", {class: "feedback"}, make("span", {class: "who"}, "feedback"), turn.feedback)];
  if (turn.masked_feedback === null) return parts;
  const masked = make("div", {class: "masked", hidden: ""}, make("span", {class: "who"}, "it saw instead"),
    turn.masked_feedback);
  if (next && next.logps) {
    const moves = next.tokens.map((token, j) => [token, next.logps[j], next.masked_logps[j]])
      .filter(([, a, b]) => a !== null && b !== null && Math.abs(a - b) > 0.01).sort((a, b) => Math.abs(b[1] - b[2]) - Math.abs(a[1] - a[2]));
    masked.append(make("ul", {}, ...moves.slice(0, 3).map(([token, a, b]) =>
      make("li", {}, make("code", {}, token), ` ${percent(a)} with the feedback, ${percent(b)} without`))));
  } else if (turn.information_gain === 0) {
    masked.append(make("p", {class: "hint"}, "The feedback is its placeholder: a gain of exactly 0."));
  }
  const button = make("button", {type: "button", class: "open", "aria-expanded": "false", onclick: () => {
    masked.hidden = !masked.hidden;
    button.setAttribute("aria-expanded", !masked.hidden);
  }}, "Counterfactual");
  return [...parts, button, masked];
}

function measure(label, value, full, kind) {
  const share = Math.min(Math.abs(value) / full, 1) * 50;
  const bar = make("i", {class: value < 0 ? "less" : "", style: `left: ${value < 0 ? 50 - share : 50}%; width: ${share}%`});
  return make("div", {class: `measure ${kind}`}, make("span", {}, label), make("span", {class: "track signed"}, bar),
    make("output", {}, signed(value)));
}

function toggleAll() {
  const buttons = [...document.querySelectorAll("#group .open")];
  const opens = buttons.some(button => button.getAttribute("aria-expanded") === "false");
  for (const button of buttons) if ((button.getAttribute("aria-expanded") === "false") === opens) button.click();
  $("all").setAttribute("aria-pressed", opens);
  $("all").textContent = opens ? "Hide all counterfactuals" : "Show all counterfactuals";
}

// ---- events

function turnPage(by) {
  page += by;
  drawList();
}

function step(by) {
  if (!matching.length) return;
  const at = matching.indexOf(current), to = at < 0 ? page * PAGE : Math.min(Math.max(at + by, 0), matching.length - 1);
  if (Math.floor(to / PAGE) !== page) {
    page = Math.floor(to / PAGE);
    drawList();
  }
  location.hash = `group-${matching[to]}`;
}

function follow() {
  const i = /^#group-(\d+)$/.exec(location.hash);
  if (i && data.groups[Number(i[1])]) open(Number(i[1]));
  else document.body.classList.remove("reading");
}

const KEYS = {j: () => step(1), k: () => step(-1), n: () => turnPage(1), p: () => turnPage(-1),
  c: () => { if ($("all")) toggleAll(); }, Escape: close};
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const key = KEYS[event.key];
  if (key) {
    event.preventDefault();
    key();
  }
});
$("filters").addEventListener("change", filter);
$("filters").addEventListener("submit", event => event.preventDefault());
$("previous").addEventListener("click", () => turnPage(-1));
$("next").addEventListener("click", () => turnPage(1));
addEventListener("hashchange", follow);
filter();
follow();
