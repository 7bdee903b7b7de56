"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SPLITS = ["", "train", "test"];
  const POSES = 5, ABSENT = 255, LEVELS = 254, RATE = 12;
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  function add(parent, tag, name, text) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }

  // Skeletons.
  const clips = new Map();
  function clipOf(sample) {
    if (!clips.has(sample)) clips.set(sample, Uint8Array.from(atob(sample.poses.d), (c) => c.charCodeAt(0)));
    return clips.get(sample);
  }
  function ink(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }
  function drawPose(context, sample, pose, box, colours) {
    const bytes = clipOf(sample), packed = sample.poses;
    const joints = bytes.length / (packed.p * packed.m * 2);
    const scale = Math.min(box.w / packed.w, box.h);
    const w = scale * packed.w, left = box.x + (box.w - w) / 2, top = box.y + (box.h - scale) / 2;
    for (let body = 0; body < packed.m; body++) {
      const start = (pose * packed.m + body) * joints * 2;
      if (bytes[start] === ABSENT) continue;
      context.strokeStyle = colours[body % 2];
      context.beginPath();
      for (const [child, parent] of data.bones) {
        const a = start + 2 * child, b = start + 2 * parent;
        context.moveTo(left + bytes[a] / LEVELS * w, top + bytes[a + 1] / LEVELS * scale);
        context.lineTo(left + bytes[b] / LEVELS * w, top + bytes[b + 1] / LEVELS * scale);
      }
      context.stroke();
    }
  }
  function openCanvas(canvas) {
    const ratio = Math.min(devicePixelRatio || 1, 2), box = canvas.getBoundingClientRect();
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.lineWidth = 1.6;
    context.lineCap = "round";
    return { context, w: box.width, h: box.height };
  }
  function drawStill(canvas, sample) {
    const { context, w, h } = openCanvas(canvas), colours = [ink("--ink"), ink("--accent")];
    for (let n = 0; n < POSES; n++) {
      const pose = Math.round(n / (POSES - 1) * (sample.poses.p - 1));
      drawPose(context, sample, pose, { x: n * w / POSES + 3, y: 5, w: w / POSES - 6, h: h - 10 }, colours);
    }
  }
  let moving = null;
  function stop() {
    if (!moving) return;
    cancelAnimationFrame(moving.frame);
    if (moving.canvas.isConnected) drawStill(moving.canvas, moving.sample);
    moving = null;
  }
  function play(canvas, sample) {
    stop();
    if (still.matches) return;
    const { context, w, h } = openCanvas(canvas), colours = [ink("--accent"), ink("--ink")];
    const began = performance.now();
    moving = { canvas, sample, frame: 0 };
    const step = (now) => {
      const pose = Math.floor((now - began) / 1000 * RATE) % sample.poses.p;
      context.clearRect(0, 0, w, h);
      drawPose(context, sample, Math.max(pose, 0), { x: 4, y: 4, w: w - 8, h: h - 8 }, colours);
      moving.frame = requestAnimationFrame(step);
    };
    moving.frame = requestAnimationFrame(step);
  }

  // Cards: pictures are decoded when they come into sight and let go when they leave it.
  const sampleOf = new WeakMap();
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const sample = sampleOf.get(target), image = target.querySelector("img"), canvas = target.querySelector("canvas");
      if (image && isIntersecting) image.src = "data:image/jpeg;base64," + sample.strip;
      if (image && !isIntersecting) image.removeAttribute("src");
      if (canvas && isIntersecting) drawStill(canvas, sample);
      if (canvas && !isIntersecting) {
        if (moving && moving.canvas === canvas) stop();
        canvas.width = canvas.height = 0;
      }
    }
  }, { rootMargin: "400px" });

  function rowOf(sample, field) {
    const at = data.fields.findIndex((name) => name.startsWith(field + "/"));
    return at < 0 ? null : sample.rows[at];
  }
  function addGap(card, sample, field) {
    const row = rowOf(sample, field);
    if (!row) return;
    add(card, "div", "gap", row[0] === "ok" ? field + ": cannot be shown" : field + " " + row[0] + ": " + (row[1] || "no reason kept"));
  }
  function makeCard(parent, sample) {
    const card = add(parent, "article", "card");
    card.tabIndex = 0;
    sampleOf.set(card, sample);
    if (sample.strip) {
      const image = add(card, "img");
      image.alt = "strip of " + sample.id;
      image.width = 300;
      image.height = 180;
    } else addGap(card, sample, "strip");
    if (sample.poses) {
      const canvas = add(card, "canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", "skeleton of " + sample.id + " over time");
      const start = () => { if (!moving || moving.canvas !== canvas) play(canvas, sample); };
      card.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") start(); });
      card.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") stop(); });
      card.addEventListener("click", () => { if (moving && moving.canvas === canvas) stop(); else start(); });
      card.addEventListener("keydown", (event) => { if (event.key === "Enter") start(); });
    } else addGap(card, sample, "skeleton");
    const told = add(card, "div", "told");
    const names = data.protocols.map((name, n) => SPLITS[sample.splits[n]] && name + " " + SPLITS[sample.splits[n]]);
    const top = add(told, "div", "top");
    add(top, "span", "id", sample.id);
    add(top, "span", "split", names.filter(Boolean).join(", "));
    sample.answers.forEach((answer, n) => {
      if (!answer) return;
      const line = add(told, "div", "answer");
      add(line, "span", "", data.questions[n][1]).title = data.questions[n].join(": ");
      add(line, "b", "", answer[0] || "(empty)");
      add(line, "i", "", answer[1] === null ? "" : answer[1].toFixed(2));
    });
    sample.rows.forEach(([status, reason], n) => {
      if (status !== "ok") add(told, "div", "status", data.fields[n] + " " + status + (reason ? ": " + reason : ""));
      else if (reason) add(told, "div", "meta", data.fields[n] + ": " + reason);
    });
    sight.observe(card);
  }

  // Filters.
  const form = document.getElementById("filters"), grid = document.getElementById("grid");
  const questionName = (n) => {
    const [variant, text] = data.questions[n];
    return data.questions.filter((other) => other[1] === text).length > 1 ? variant + ": " + text : text;
  };
  function fill(name, options) {
    const select = form.elements[name];
    add(select, "option", "", "all").value = "";
    for (const [value, text] of options) add(select, "option", "", text).value = value;
    if (!options.length) select.closest("label").hidden = true;
  }
  const has = new Set(data.samples.map((sample) => sample.label));
  fill("class", data.classes.map((name, n) => [String(n), name]).filter(([n]) => has.has(Number(n))));
  fill("split", data.protocols.flatMap((name, n) => [1, 2].map((code) => [n + " " + code, name + " " + SPLITS[code]])));
  const answers = data.questions.map(() => new Map());
  for (const sample of data.samples) {
    sample.answers.forEach((answer, n) => answer && answers[n].set(answer[0], (answers[n].get(answer[0]) || 0) + 1));
  }
  fill("answer", answers.flatMap((counts, n) => [...counts].sort((a, b) => b[1] - a[1]).map(([text, count]) =>
    [JSON.stringify([n, text]), (data.questions.length > 1 ? questionName(n) + " " : "") + (text || "(empty)") + " (" + count + ")"])));
  const kinds = new Set(data.samples.flatMap((sample) => sample.rows.map((row) => row[0])));
  fill("status", data.fields.length ? [["ok", "all rows ok"], ["not ok", "any row not ok"],
    ...[...kinds].filter((kind) => kind !== "ok").map((kind) => [kind, "a row " + kind])] : []);

  function passes(sample, wanted) {
    if (wanted.class && sample.label !== Number(wanted.class)) return false;
    if (wanted.id && !sample.id.toLowerCase().includes(wanted.id.toLowerCase())) return false;
    if (wanted.split) {
      const [protocol, code] = wanted.split.split(" ").map(Number);
      if (sample.splits[protocol] !== code) return false;
    }
    if (wanted.answer) {
      const [n, text] = JSON.parse(wanted.answer);
      if (!sample.answers[n] || sample.answers[n][0] !== text) return false;
    }
    const isOk = sample.rows.every((row) => row[0] === "ok");
    if (wanted.status === "ok") return isOk;
    if (wanted.status === "not ok") return !isOk;
    return !wanted.status || sample.rows.some((row) => row[0] === wanted.status);
  }
  function show() {
    stop();
    sight.disconnect();
    grid.replaceChildren();
    const wanted = Object.fromEntries(new FormData(form));
    const left = data.samples.filter((sample) => passes(sample, wanted));
    data.classes.forEach((name, label) => {
      const group = left.filter((sample) => sample.label === label);
      if (!group.length) return;
      const section = add(grid, "section", "class");
      const title = add(section, "h3", "", name);
      add(title, "span", "", String(group.length));
      const cards = add(section, "div", "cards");
      for (const sample of group) makeCard(cards, sample);
    });
    document.getElementById("count").textContent = left.length + " of " + data.samples.length + " samples";
    document.getElementById("nothing").hidden = left.length > 0;
  }
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  // A link can name filters: gallery.html#class=wave&answer=yes
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const control = form.elements.namedItem(name);
    if (!control) continue;
    const options = control.options && [...control.options];
    const match = options && options.find((option) => option.value === value || option.text.replace(/ \(\d+\)$/, "") === value);
    control.value = options ? (match ? match.value : "") : value;
  }
  const redraw = () => {
    for (const canvas of grid.querySelectorAll("canvas")) {
      if (canvas.width && canvas.width !== 300) drawStill(canvas, sampleOf.get(canvas.closest(".card")));
    }
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  show();
  document.documentElement.dataset.ready = "yes";
})();
