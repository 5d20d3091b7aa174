// The page of `mmkeras serve`: a form for what each model takes, and what its answers show.
"use strict";

const DEFAULT = "serving_default";
const PICTURE = /image|photo|picture/i;
const SOUND = /audio|sound|speech|voice|record/i;
// What `explain` and `timestamps` tell of an answer NAME.
const PART = /_(tokens|attention|words|seconds|confidence|frames)$/;
// Samples a second of sounds that are not WAV already; models resample to their own.
const RATE = 48000;
let token = "";

const find = (within, selector) => within.querySelector(selector);
const copyOf = (id) => document.getElementById(id).content.cloneNode(true).firstElementChild;
const peak = (values) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// Asking

async function ask(path, request) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  let reply, body;
  try {
    reply = await fetch(path, { ...request, headers });
    body = await reply.text();
  } catch (error) {
    throw new Error("The server cannot be reached, or it left before it answered.");
  }
  try {
    body = parsed(body);
  } catch {
    body = { error: `${reply.status} ${reply.statusText}` };
  }
  if (body.error === undefined) return body;
  const sentence = `The server could not answer: ${body.error.replace(/\.$/, "")}.`;
  throw Object.assign(new Error(sentence), { status: reply.status });
}

/** Of JSON, in which servers write what is no number as JSON does not have it. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(text.replace(/(?<=[[:,])-?(Infinity|NaN)(?=[\],}])/g, "null"));
  }
}

async function start() {
  const [main, nav, trouble] = ["main", "nav", "#trouble"].map((x) => find(document, x));
  for (const each of [main, nav, trouble]) each.replaceChildren();
  let refused = false;
  try {
    for (const [model, versions] of Object.entries((await ask("/readyz")).models)) {
      if (!versions.length) trouble.append(`No version of ${model} can be served. `);
      for (const number of versions) {
        const version = versions.length > 1 ? number : null;
        const place = version === null ? "" : `/versions/${version}`;
        const path = `/v1/models/${encodeURIComponent(model)}${place}`;
        const { signature_def: found } = (await ask(`${path}/metadata`)).metadata;
        const served = { model, version, number, path, groups: alike(found.signature_def) };
        const id = `panel-${main.childElementCount}`;
        if (served.groups.length) main.append(Object.assign(panel(served), { id }));
        nav.append(make("a", { href: `#${id}` }, version ? `${model} ${version}` : model));
      }
    }
  } catch (error) {
    refused = error.status === 401;
    if (!refused || token) trouble.textContent = error.message;
  }
  nav.hidden = main.childElementCount < 2;
  find(document, "#token").hidden = !refused;
}

/** Signatures by what they take, each a group; streams need a client that listens, and
 * `classify` is `nbest` for other clients. */
function alike(signatures) {
  const groups = {};
  for (const name of new Set([DEFAULT, ...Object.keys(signatures).sort()])) {
    const takes = Object.entries(signatures[name]?.inputs ?? {}).sort();
    const rows = takes.length && takes.every(([, spec]) => sizes(spec).length);
    if (!rows || name.startsWith("stream_") || name === "classify") continue;
    const key = JSON.stringify(takes.map(([input, spec]) => [input, spec.dtype, sizes(spec)]));
    (groups[key] ??= {})[name] = signatures[name];
  }
  return Object.values(groups);
}

const sizes = (spec) => (spec.tensor_shape.dim ?? []).map(({ size }) => Number(size));

/** The signatures that are asked for one answer: the one that tells most of it goes first. */
function asked(signatures, fields) {
  const explained = Object.keys(signatures.explain?.outputs ?? {});
  // Beside other inputs nothing tells which places are those of the picture.
  const looks = fields.length === 1 && fields[0].kind === "picture"
    && explained.some((name) => name.endsWith("_attention"));
  const best = signatures.timestamps ? "timestamps" : looks ? "explain" : DEFAULT;
  const same = ["timestamps", "explain", DEFAULT];
  const others = Object.keys(signatures).filter((name) => !same.includes(name));
  return [best, ...others].filter((name) => name in signatures);
}

// Forms

function panel(served) {
  const section = copyOf("panel");
  const { model, number, groups, path } = served;
  find(section, "h2").append(model, make("small", {}, `version ${number}`));
  const [form, ways, output] = ["form", "select", "output"].map((x) => find(section, x));
  const [failed, answer] = [find(form, ".error"), find(section, ".answer")];
  const say = (error) => {
    output.textContent = "";
    failed.textContent = error.message;
  };
  for (const names of groups.map(Object.keys)) {
    ways.append(make("option", {}, names.includes(DEFAULT) ? "the answer" : names.join(", ")));
  }
  ways.closest("label").hidden = groups.length < 2;
  const takes = (group) => Object.values(group)[0].inputs;
  const needed = () => fields.filter(({ name }) => name in takes(groups[ways.selectedIndex]));
  const taken = () => (needed().length === 1 ? form.requestSubmit() : (failed.textContent = ""));
  const sounds = groups.some((group) => "timestamps" in group);
  const isFile = (name) => name.endsWith("_bytes");
  const inputs = Object.entries(Object.assign({}, ...groups.map(takes))).sort();
  // Files go first.
  const fields = inputs.sort(([a], [b]) => isFile(b) - isFile(a)).map(([name, spec]) => {
    return isFile(name) ? fileField(name, sounds, taken, say) : textField(name, spec, form);
  });
  find(form, ".fields").append(...fields.map(({ element }) => element));
  const choose = () => {
    for (const field of fields) field.element.hidden = !needed().includes(field);
  };
  ways.addEventListener("change", choose);
  choose();
  let current = new AbortController();

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    current.abort();
    const { signal } = (current = new AbortController());
    clear(section);
    answer.ariaBusy = "true";
    try {
      const [given, signatures] = [needed(), groups[ways.selectedIndex]];
      await Promise.all(given.map(({ taking }) => taking));
      if (!given.some((field) => field.given())) {
        throw new Error(`Please give ${given.map(({ label }) => label).join(" or ")} first.`);
      }
      output.textContent = "Asking …";
      const rows = given.map(async (field) => [field.name, [await field.value()]]);
      const columns = Object.fromEntries(await Promise.all(rows));
      const order = asked(signatures, given);
      showCode(section, served, given, order);
      for (const signature of order) {
        const body = json({ signature_name: signature, inputs: columns });
        const began = performance.now();
        const { outputs } = await ask(`${path}:predict`, { method: "POST", body, signal });
        const milliseconds = performance.now() - began;
        const specs = signatures[signature].outputs;
        show(section, given, { signature, specs, outputs, milliseconds });
      }
    } catch (error) {
      if (!signal.aborted) say(error);
    }
    if (!signal.aborted) answer.ariaBusy = "false";
  });
  return section;
}

function textField(name, spec, form) {
  const element = copyOf("text");
  const box = find(element, "textarea");
  const text = spec.dtype === "DT_STRING" && sizes(spec).length === 1;
  const missing = text ? "" : nothing(/INT/.test(spec.dtype) ? 0 : NaN, sizes(spec).slice(1));
  find(element, ".name").textContent = name;
  const example = Array.isArray(missing) ? json(missing).replaceAll("NaN", "0") : "a number";
  box.placeholder = text ? "" : example;
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  const given = () => box.value.trim() !== "";
  const value = () => {
    if (text) return box.value;
    try {
      return given() ? JSON.parse(box.value) : missing;
    } catch {
      throw new Error(`The input ${name} should be a number or lists of them, such as [1, 2.5].`);
    }
  };
  return { element, name, label: name, given, value, shown: value };
}

/** What stands for an input that a request lacks, in as many places. */
function nothing(value, [size, ...inner]) {
  return size === undefined ? value : Array.from({ length: size }, () => nothing(value, inner));
}

function json(value) {
  const marked = JSON.stringify(value, (_, x) => (Number.isNaN(x) ? "\0" : x));
  return marked.replaceAll('"\\u0000"', "NaN");
}

function fileField(name, sounds, taken, say) {
  const element = copyOf("file");
  const [drop, input, hint] = [".drop", "input", ".hint"].map((x) => find(element, x));
  const [image, audio, save, button] = ["img", "audio", "a", "button"].map((x) => find(element, x));
  const label = name.replace(/_bytes$/, "");
  const kind = PICTURE.test(label) ? "picture" : sounds || SOUND.test(label) ? "sound" : "file";
  const field = { element, name, label, kind, audio, file: null, taking: null };
  field.given = () => field.file !== null;
  field.value = async () => ({ b64: field.file ? await base64(field.file) : "" });
  find(element, ".name").textContent = label;
  hint.textContent = `Drop a ${kind} here, or choose one`;
  input.accept = { picture: "image/*", sound: "audio/*", file: "" }[kind];
  button.hidden = kind === "picture";

  let last;
  const read = async (file) => {
    last = file;
    const listens = kind === "sound" || /^(audio|video)/.test(file.type);
    const samples = listens ? await decoded(file) : null;
    const photo = listens ? null : await createImageBitmap(file).catch(() => null);
    const is_wav = (await file.slice(0, 4).text()) === "RIFF";
    // Another may have come meanwhile.
    if (last !== file) return;
    const sent = samples && !is_wav ? wav(samples, file.name) : file;
    Object.assign(field, { file: sent, samples, photo });
    URL.revokeObjectURL(save.href);
    save.href = URL.createObjectURL(sent);
    Object.assign(save, { download: sent.name, hidden: sent === file });
    hint.textContent = sent.name;
    for (const [player, fits] of [[image, photo], [audio, samples]]) {
      player.hidden = !fits;
      if (fits) player.src = save.href;
    }
  };
  const take = (file) => {
    if (file) (field.taking = read(file)).then(taken);
  };
  input.addEventListener("change", () => take(input.files[0]));
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.toggle("on", type === "dragenter" || type === "dragover");
      if (type === "drop") take(event.dataTransfer.files[0]);
    });
  }
  button.addEventListener("click", () => record(field, button, take).catch(say));
  return field;
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`The file ${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

// Sounds

/** The samples of a sound as one channel; null if the browser cannot read it. */
async function decoded(file) {
  try {
    const context = new OfflineAudioContext(1, 1, RATE);
    const sound = await context.decodeAudioData(await file.arrayBuffer());
    const count = sound.numberOfChannels;
    const channels = Array.from({ length: count }, (_, i) => sound.getChannelData(i));
    return channels[0].map((_, i) => channels.reduce((sum, x) => sum + x[i], 0) / count);
  } catch {
    return null;
  }
}

/** A WAV file of 16 bits, as models read it. */
function wav(samples, name) {
  const pcm = Int16Array.from(samples, (x) => Math.round(32767 * Math.max(-1, Math.min(1, x))));
  const [riff, wave, fmt, data] = [0x46464952, 0x45564157, 0x20746d66, 0x61746164];
  const size = pcm.byteLength;
  const head = [riff, 36 + size, wave, fmt, 16, 0x10001, RATE, 2 * RATE, 0x100002, data, size];
  const stem = name.replace(/\.\w+$/, "");
  return new File([new Uint32Array(head), pcm], `${stem}.wav`, { type: "audio/wav" });
}

async function record(field, button, take) {
  if (field.recorder) return field.recorder.stop();
  const stream = await navigator.mediaDevices?.getUserMedia({ audio: true }).catch(() => null);
  if (!stream) {
    throw new Error("The browser gives this page no microphone; it may want https for that.");
  }
  const recorder = (field.recorder = new MediaRecorder(stream, { audioBitsPerSecond: 128000 }));
  const parts = [];
  let seconds = 0;
  const tell = () => (button.textContent = `Stop (${seconds++} s)`);
  const ticking = setInterval(tell, 1000);
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = () => {
    clearInterval(ticking);
    for (const track of stream.getTracks()) track.stop();
    field.recorder = null;
    button.textContent = "Record";
    button.classList.remove("on");
    take(new File(parts, "recording", { type: recorder.mimeType }));
  };
  recorder.start();
  button.classList.add("on");
  tell();
}

// Answers

function clear(section) {
  for (const selector of [".error", "output", ".facts", ".best ol", "dl"]) {
    find(section, selector).replaceChildren();
  }
  for (const each of section.querySelectorAll("figure, .best, details")) each.hidden = true;
}

function show(section, fields, { signature, specs, outputs, milliseconds }) {
  const facts = find(section, ".facts");
  const fact = (text) => facts.append(facts.textContent && " · ", text);
  const all = Object.keys(specs).sort();
  // Of one output there is no name; some have no rows.
  const column = (name) => (all.length > 1 ? outputs[name] : outputs);
  const rowOf = (name) => (specs[name].tensor_shape.dim?.length ? column(name)[0] : column(name));
  const row = Object.fromEntries(all.map((name) => [name, rowOf(name)]));
  const names = all.filter((name) => !PART.test(name));
  const texts = names.filter((name) => specs[name].dtype === "DT_STRING" && !/_bytes$/.test(name));
  if (signature === "nbest") {
    for (const name of texts) showBest(find(section, ".best"), name, row);
  } else {
    const said = texts.filter((name) => typeof row[name] === "string");
    const text = (name) => (said.length > 1 ? `${name}: ` : "") + (row[name] || "(nothing)");
    const output = find(section, "output");
    if (facts.textContent === "") output.textContent = said.map(text).join("\n") || "Answered:";
    const scores = names.filter((name) => /(^|_)score$/.test(name) && !Array.isArray(row[name]));
    for (const name of scores) fact(`${name.replaceAll("_", " ")} ${brief(row[name])}`);
    for (const name of names.filter((name) => !said.includes(name) && !scores.includes(name))) {
      find(section, "dl").append(make("dt", {}, name), make("dd", {}, brief(row[name])));
    }
    const sound = fields.find(({ audio, kind }) => audio && kind !== "picture");
    for (const name of said) {
      if (signature === "explain") showLooked(find(section, ".looked"), fields[0], name, row);
      if (row[`${name}_seconds`] && sound) showHeard(find(section, ".heard"), sound, name, row);
    }
  }
  fact(`${signature} in ${Math.round(milliseconds)} ms`);
}

function brief(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(3))).replace("-", "−");
  if (!Array.isArray(value)) return String(value?.b64 ?? value);
  const flat = value.flat(Infinity);
  const end = flat.length > 8 ? `, … (${flat.length} values)` : "";
  return flat.slice(0, 8).map(brief).join(", ") + end;
}

function showBest(element, name, row) {
  const scores = row[`${name}_score`] ?? row.score;
  row[name].forEach((answer, i) => {
    const score = make("span", { title: "score" }, brief(scores[i]));
    find(element, "ol").append(make("li", { dir: "auto" }, score, answer || "(nothing)"));
  });
  element.hidden = false;
}

/** Tokens of an answer as words, and the mean attention of each. */
function wholeWords(answer, tokens, attention) {
  // Tokens that spell the answer one after the other are pieces of words, with their spaces.
  const pieces = tokens.join("").trim() === answer.trim() && /\s/.test(answer);
  const words = [];
  tokens.forEach((token, i) => {
    if (!token) return;
    const begins = !pieces || !words.length || /^\s/.test(token) || /\s$/.test(words.at(-1).text);
    if (begins) words.push({ text: "", rows: [] });
    words.at(-1).text += token;
    words.at(-1).rows.push(attention[i]);
  });
  return words.filter(({ text }) => text.trim()).map(({ text, rows }) => {
    const weights = rows[0].map((_, i) => rows.reduce((sum, x) => sum + x[i], 0) / rows.length);
    return { text: text.trim(), weights };
  });
}

function showLooked(figure, { photo }, name, row) {
  const [tokens, attention] = [row[`${name}_tokens`], row[`${name}_attention`]];
  const side = Math.sqrt(attention?.[0]?.length);
  const words = tokens && side > 1 ? wholeWords(row[name], tokens, attention) : [];
  if (!photo || !words.length || !Number.isInteger(side)) return;
  const [canvas, caption, list] = ["canvas", "figcaption", "ol"].map((x) => find(figure, x));
  const buttons = words.map(({ text, weights }) => {
    const small = make("canvas", { width: 144, height: 144 });
    draw(small, photo, weights, side);
    return make("button", { type: "button" }, small, text);
  });
  const choose = (chosen) => {
    const { text, weights } = words[chosen];
    const share = `${Math.round(100 * peak(weights))} % on one of ${side} × ${side} places`;
    caption.textContent = `“${text}” looked most at the ${where(weights, side)}: ${share}`;
    canvas.ariaLabel = caption.textContent;
    draw(canvas, photo, weights, side);
    buttons.forEach((button, i) => (button.ariaPressed = String(i === chosen)));
  };
  buttons.forEach((button, i) => {
    for (const type of ["click", "focus", "pointerenter"]) {
      button.addEventListener(type, () => choose(i));
    }
  });
  list.replaceChildren(...buttons.map((button) => make("li", {}, button)));
  const peaks = words.map(({ weights }) => peak(weights));
  choose(peaks.indexOf(peak(peaks)));
  figure.hidden = false;
}

function where(weights, side) {
  const most = weights.indexOf(peak(weights));
  const third = (x, names) => names[Math.floor((3 * (x + 0.5)) / side)];
  const down = third(Math.floor(most / side), ["top", "middle", "bottom"]);
  const across = third(most % side, ["left", "middle", "right"]);
  return down === across ? "middle" : `${down} ${across}`.replace("middle", "").trim();
}

/** The middle square of a photo, which models see, under the heat of weights. */
function draw(canvas, photo, weights, side) {
  const context = canvas.getContext("2d");
  const [size, from] = [canvas.width, Math.min(photo.width, photo.height)];
  const [left, top] = [(photo.width - from) / 2, (photo.height - from) / 2];
  context.drawImage(photo, left, top, from, from, 0, 0, size, size);
  const [heat, most] = [new ImageData(side, side), peak(weights)];
  weights.forEach((weight, i) => {
    const warm = weight / most;
    heat.data.set([255 * warm, 120 * warm, 0, 255 * (0.6 - 0.2 * warm)], 4 * i);
  });
  const grid = make("canvas", { width: side, height: side });
  grid.getContext("2d").putImageData(heat, 0, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(grid, 0, 0, size, size);
}

function showHeard(figure, { samples, audio }, name, row) {
  const [words, seconds, sure] = ["words", "seconds", "confidence"].map((x) => row[`${name}_${x}`]);
  const buttons = words.filter((word) => word).map((word, i) => {
    const times = seconds[i].map((x) => x.toFixed(2)).join("–");
    const button = make("button", { type: "button" }, make("span", {}, word));
    button.append(make("small", {}, `${times} s`));
    button.append(make("small", {}, `${Math.round(100 * sure[i])} % sure`));
    button.addEventListener("click", () => {
      audio.currentTime = seconds[i][0];
      audio.play();
    });
    return button;
  });
  find(figure, "ol").replaceChildren(...buttons.map((button) => make("li", {}, button)));
  const canvas = find(figure, "canvas");
  canvas.hidden = !samples;
  const drawing = samples && soundDrawing(canvas, samples, seconds.slice(0, buttons.length));
  const follow = () => {
    const begun = seconds.slice(0, buttons.length).map(([begin]) => audio.currentTime >= begin);
    const now = audio.paused ? -1 : begun.lastIndexOf(true);
    buttons.forEach((button, i) => (button.ariaCurrent = String(i === now)));
    drawing?.(audio.currentTime);
  };
  audio.ontimeupdate = audio.onplay = audio.onpause = follow;
  follow();
  figure.hidden = false;
}

/** A function that draws how loud a sound is, where its words are, and a second of it. */
function soundDrawing(canvas, samples, spans) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const bars = Array.from({ length: width / 4 }, (_, i) => {
    return peak(samples.subarray(...[i, i + 1].map((x) => (4 * x * samples.length) / width)));
  });
  const loudest = Math.max(peak(bars), 1e-4);
  const x = (second) => (second * RATE * width) / samples.length;
  return (second) => {
    context.clearRect(0, 0, width, height);
    context.fillStyle = getComputedStyle(canvas).color;
    context.globalAlpha = 0.25;
    for (const [begin, end] of spans) context.fillRect(x(begin), 0, x(end - begin), height);
    context.globalAlpha = 1;
    bars.forEach((bar, i) => {
      const tall = Math.max(2, (0.9 * height * bar) / loudest);
      context.fillRect(4 * i, (height - tall) / 2, 2, tall);
    });
    if (second > 0) context.fillRect(x(second), 0, 3, height);
  };
}

// The same as code

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function showCode(section, served, fields, signatures) {
  for (const [language, write] of [["curl", curlCode], ["Python", pythonCode]]) {
    const text = write(served, fields, signatures);
    const code = make("pre", { tabIndex: 0, ariaLabel: language }, text);
    const copy = make("button", { type: "button", ariaLabel: `Copy the ${language}` }, "Copy");
    copy.addEventListener("click", async () => {
      getSelection().selectAllChildren(code);
      // A browser may let only people copy, always so without https.
      const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
      copy.textContent = copied ? "Copied" : "Selected";
    });
    const head = make("div", { className: "row" }, make("h3", {}, language), copy);
    find(section, `.${language}`).replaceChildren(head, code);
  }
  find(section, "details").hidden = false;
}

function curlCode({ path }, fields, signatures) {
  const places = fields.map(({ name, kind }) => {
    return `${JSON.stringify(name)}: [${kind ? '{"b64": "%s"}' : "%s"}]`;
  });
  const values = fields.map(({ kind, file, shown }) => {
    if (!kind) return quoted(json(shown()));
    return file ? `"$(base64 < ${quoted(file.name)} | tr -d '\\n')"` : "''";
  });
  const header = token ? ' -H "Authorization: Bearer $TOKEN"' : "";
  const url = quoted(`${location.origin}${path}:predict`);
  return signatures.map((name) => {
    const body = `{"signature_name": "${name}", "inputs": {${places.join(", ")}}}`;
    const curl = `curl${header} --data-binary @- ${url}`;
    return `printf ${quoted(body)} \\\n  ${values.join(" ")} |\n  ${curl}\n`;
  }).join("");
}

function pythonCode({ model, version }, fields, signatures) {
  const values = fields.map((field) => {
    if (!field.given()) return "None";
    return json(field.file ? field.file.name : field.shown());
  });
  const records = fields.map(({ label }, i) => `${JSON.stringify(label)}: [${values[i]}]`);
  const version_ = version === null ? "" : `, version=${version}`;
  const token_ = token ? ', token=os.environ["TOKEN"]' : "";
  const where = `${JSON.stringify(location.origin)}, ${JSON.stringify(model)}${version_}${token_}`;
  const asks = signatures.map((name) => `    print(client.infer(records, "${name}"))\n`);
  const imports = `${token ? "import os\n\n" : ""}import mmkeras as mm\n`;
  const given = `records = {${records.join(", ")}}`;
  return `${imports}\n${given}\nwith mm.Client(${where}) as client:\n${asks.join("")}`;
}

find(document, "#token").addEventListener("submit", (event) => {
  event.preventDefault();
  token = find(document, "#secret").value;
  start();
});
// What is dropped beside a field should not replace the page.
for (const type of ["dragover", "drop"]) {
  document.addEventListener(type, (event) => event.preventDefault());
}
start();
