// The page of `dcpcpp report`, from top to bottom. report_charts.js comes before this.

function drawHead(info) {
  const tiles = [
    ["format", info.format + (info.written_by_dcpcpp ? ", written by dcpcpp" : "")],
    ["step", info.step], ["ranks", info.ranks], ["files", data.layout.file_count],
    ["tensors", info.tensors], ["objects", info.objects], ["elements", info.elements],
  ].filter(([, value]) => value !== null);
  page.append(
    el("h1", {}, info.path),
    el("p", {}, info.save_id === null ? "" : `save ${info.save_id}`),
    el(
      "div", { class: "tiles" },
      el("div", { class: "tile", title: `${count(info.nbytes)} bytes` }, el("b", {}, size(info.nbytes)), "of tensors"),
      ...tiles.map(([name, value]) =>
        el("div", { class: "tile" }, el("b", {}, typeof value === "number" ? count(value) : value), name)),
    ),
  );
}

function drawLayout(layout) {
  const ranks = layout.ranks.length > 0;
  const holders = ranks ? layout.ranks : layout.files;
  const imbalance = ranks ? layout.rank_imbalance : layout.file_imbalance;
  const noun = ranks ? "rank" : "file";
  const rows = layout.files.map((file) => [
    file.name, file.rank === null ? "" : String(file.rank), size(file.nbytes), count(file.items), count(file.keys),
  ]);
  section(
    "Ranks and files",
    el("p", {}, `Bytes by ${noun}, and their mean; the largest has ${imbalance.toFixed(2)} times that.`),
    columns(holders, (holder) => (ranks ? `rank ${holder.rank}` : holder.name)),
    el(
      "details", {}, el("summary", {}, counted(layout.file_count, "file")),
      table(["file", "rank", "size", "items", "keys"], rows, [false, true, true, true, true]),
      more(rows.length, layout.file_count),
    ),
  );
}

function drawIntegrity(verify) {
  if (verify === null) {
    section("Integrity", el("p", {}, "Not checked: --verify reads and checks every byte."));
    return;
  }
  const clean = verify.status === "clean";
  const [verdict, mark] = !clean
    ? [counted(verify.damage_count, "damage"), "bad"]
    : verify.has_checksums ? ["whole", "good"] : ["headers only: these files have no checksums", ""];
  const rows = verify.damages.map((damage) => [damage.path, damage.key ?? "", damage.message]);
  section(
    "Integrity",
    el("p", { class: mark }, verdict),
    el("p", {}, `Checked: ${count(verify.nbytes)} bytes of ${counted(verify.files, "file")}.`),
    clean ? "" : table(["file", "key", "damage"], rows, [false, false, false]),
    more(rows.length, verify.damage_count) ?? "",
  );
}

function drawTimeline(timeline) {
  if (timeline === null) {
    section(
      "Time line of the save",
      el("p", {}, "Not known: --trace FILE draws what SaveStats.write_trace wrote of the save, for each rank."),
    );
    return;
  }
  const slowest = timeline.names.map((_, i) => Math.max(...timeline.ranks.map((rank) => rank.phases[i])));
  section(
    "Time line of the save",
    el("p", {}, "A row is a thread. Each rank's time begins with its own call of the save."),
    table(
      ["", "work", "at most on a rank"],
      timeline.names.map((name, i) => [swatch(i), name, seconds(slowest[i])]),
      [false, false, true],
    ),
  );
  for (const rank of timeline.ranks) {
    const took = rank.seconds === null ? "it had not ended" : seconds(rank.seconds);
    const left = rank.thread_count - rank.threads.length;
    const notes = [
      left > 0 ? `${count(left)} more threads are not shown.` : "",
      rank.dropped > 0 ? `The trace had no room for ${count(rank.dropped)} stretches of work.` : "",
    ].filter((note) => note !== "");
    page.append(
      el("h3", {}, `rank ${rank.rank}: ${took}`),
      el("p", {}, `save to ${rank.path}`),
      timelineOf(rank, timeline.names, timeline.seconds),
      ...notes.map((note) => el("p", {}, note)),
    );
  }
  page.append(more(timeline.ranks.length, timeline.rank_count) ?? "");
}

function drawHistograms(tensors) {
  if (tensors.length === 0) {
    section("Histograms", el("p", {}, "--tensor KEY shows how the numbers of a tensor are spread."));
    return;
  }
  section("Histograms");
  for (const tensor of tensors) {
    const facts = [
      `${tensor.dtype} ${shape(tensor.shape)}`, `mean ${number(tensor.mean)}`, `std ${number(tensor.std)}`,
      `${count(tensor.zeros)} zeros`, `${count(tensor.nan)} nan`,
      `${count(tensor.positive_inf + tensor.negative_inf)} infinite`,
    ];
    page.append(el("h3", {}, tensor.key), el("p", {}, facts.join(", ")), histogram(tensor));
  }
}

const form = (value) => (value === null ? "object" : `${value.dtype} ${shape(value.shape)}`);

function drawComparison(compare) {
  const totals = [data.info, compare.other].map((info) => [
    info.path, info.step === null ? "" : String(info.step), count(info.tensors), count(info.objects), size(info.nbytes),
  ]);
  section(
    "Comparison",
    el("p", { class: compare.status === "equal" ? "good" : "bad" },
      compare.values === null ? `${compare.status} keys, dtypes and shapes` : compare.status),
    table(["checkpoint", "step", "tensors", "objects", "size"], totals, [false, true, true, true, true]),
  );
  const list = (name, title, head, cells) => {
    if (!compare[name] || compare[name].length === 0) return;
    const rows = compare[name].map(cells);
    page.append(
      el("h3", {}, `${count(compare[`${name}_count`])} ${title}`),
      table(head, rows, head.map(() => false)),
      more(rows.length, compare[`${name}_count`]) ?? "",
    );
  };
  list("only_in_a", "only here", ["key"], (key) => [key]);
  list("only_in_b", "only in the other", ["key"], (key) => [key]);
  list("forms", "of another dtype or shape", ["key", "here", "there"], (f) => [f.key, form(f.a), form(f.b)]);
  list("values", "of another value", ["key", "elements that differ", "by at most"], (v) => [
    v.key, count(v.elements), number(v.max_distance),
  ]);
}

drawHead(data.info);
const map = el("div");
section("Sizes", map);
// The first module that parts: a box with nothing but one box in it shows nothing.
const start = [data.tree];
for (let node = data.tree; node.children.length === 1 && node.children[0].children.length > 0; ) {
  node = node.children[0];
  start.push(node);
}
treemap(map, start);
section(
  "Dtypes",
  table(
    ["dtype", "tensors", "elements", "size", ""],
    data.info.by_dtype.map((total) => [
      total.name, count(total.tensors), count(total.elements), size(total.nbytes),
      bar(total.nbytes / Math.max(1, data.info.nbytes)),
    ]),
    [false, true, true, true, false],
  ),
);
drawLayout(data.layout);
drawIntegrity(data.verify);
drawTimeline(data.timeline);
drawHistograms(data.histograms);
if (data.compare !== null) drawComparison(data.compare);
section(
  "Tensors",
  el(
    "details", {}, el("summary", {}, `the ${count(data.tensors.length)} largest of ${count(data.info.tensors)}`),
    table(
      ["key", "dtype", "shape", "size", "chunks"],
      data.tensors.map((t) => [t.key, t.dtype, shape(t.shape), size(t.nbytes), count(t.chunks)]),
      [false, false, false, true, true],
    ),
  ),
);
page.append(el("p", {}, `dcpcpp ${data.version}`));
