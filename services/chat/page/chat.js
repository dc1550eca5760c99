// The chat's page. What others wrote is only ever set as text.

const RETRY_MS = { first: 250, longest: 8000 };
// How long what was refused for now waits to be sent again.
const REFUSED_MS = 1000;
const MOST_ROOM = 64;
const PROVED_BY_END = /.(!pow|!rpc)$/s;

const at = (id) => document.getElementById(id);
const [entry, writing, log, state, fault] = ["entry", "writing", "log", "state", "fault"].map(at);
const encoder = new TextEncoder();
const me = `${Date.now()}`;

// Of the room that was entered: its socket, the last number that was shown, and what was sent and is not shown yet, by id.
let room = null;

entry.room.value = new URLSearchParams(location.search).get("room") ?? "MyChat";
entry.name.value = localStorage.getItem("name") ?? `guest ${me.slice(-4)}`;

entry.addEventListener("submit", (event) => {
  event.preventDefault();
  enter(entry.room.value);
  writing.text.focus();
});

writing.addEventListener("submit", (event) => {
  event.preventDefault();
  const message = writing.text.value;
  if (!room || !message.trim()) return;
  const sent = { id: uuid(), username: entry.name.value, message };
  localStorage.setItem("name", sent.username);
  room.unseen.set(sent.id, sent);
  room.own.add(sent.id);
  send(sent);
  writing.text.value = "";
  fault.textContent = "";
});

writing.text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    writing.requestSubmit();
  }
});

addEventListener("online", () => room?.socket === null && connect(room));

function enter(name) {
  const length = [...name].length;
  fault.textContent = length < 1 || length > MOST_ROOM ? `A room has 1 to ${MOST_ROOM} characters. Enter another.` : "";
  if (fault.textContent) return;
  if (room) {
    clearTimeout(room.retry);
    room.left = true;
    room.socket?.close(1000);
  }
  log.replaceChildren();
  room = { name, seq: null, unseen: new Map(), own: new Set(), proving: new Map(), failures: 0, socket: null, left: false };
  connect(room);
}

function connect(room) {
  clearTimeout(room.retry);
  const query = new URLSearchParams({ group_name: room.name });
  if (room.seq !== null) query.set("after", room.seq);
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/chat/ws/${me}?${query}`);
  room.socket = socket;
  tell("Connecting …");
  socket.addEventListener("open", () => {
    tell(`In ${room.name}`);
    // Stored once: each has its id.
    for (const sent of room.unseen.values()) send(sent);
  });
  socket.addEventListener("message", (event) => !room.left && take(room, JSON.parse(event.data)));
  socket.addEventListener("close", () => {
    room.socket = null;
    if (room.left) return;
    const pause = Math.min(RETRY_MS.first * 2 ** room.failures++, RETRY_MS.longest);
    tell("Offline. What you write is sent when the connection is back.", "offline");
    room.retry = setTimeout(connect, pause * (0.5 + Math.random() / 2), room);
  });
}

function send(sent) {
  if (room.socket?.readyState === WebSocket.OPEN) room.socket.send(JSON.stringify(sent));
}

function tell(text, kind = "") {
  state.textContent = text;
  state.className = kind;
}

function take(room, frame) {
  if (frame.error) return refused(room, frame);
  // Not when it is open: a server without its database opens and closes.
  room.failures = 0;
  // A number that was shown already came again behind a new connection.
  if (room.seq !== null && frame.seq <= room.seq) return;
  room.seq = frame.seq;
  if (frame.kind === "message") room.unseen.delete(frame.id);
  else proved(room, frame);
  show(room, frame);
}

function refused(room, { error, id, again }) {
  fault.textContent = error;
  const sent = room.unseen.get(id);
  if (again && sent) {
    setTimeout(() => room.unseen.has(id) && !room.left && send(sent), REFUSED_MS);
    return;
  }
  room.unseen.delete(id);
  // To be mended, if nothing else is being written.
  if (sent && !writing.text.value) writing.text.value = sent.message;
}

function show(room, frame) {
  const isNear = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const line = document.createElement("li");
  line.dataset.seq = frame.seq;
  line.classList.add(frame.kind);
  const isOwn = frame.kind === "message" && room.own.has(frame.id);
  line.classList.toggle("own", isOwn);
  const by = add(line, "div", "by");
  add(by, "b", "", frame.username);
  const time = add(by, "time", "", new Date(frame.sent_at).toLocaleTimeString());
  time.dateTime = frame.sent_at;
  add(line, "div", "text", frame.message);
  if (frame.kind === "message" && PROVED_BY_END.test(frame.message)) {
    room.proving.set(frame.id, add(line, "div", "proving", "proving …"));
  }
  if (frame.proof) check(frame.proof, add(line, "div", "check", "checking …"));
  log.append(line);
  if (isNear || isOwn) log.scrollTop = log.scrollHeight;
}

function proved(room, frame) {
  room.proving.get(frame.id)?.remove();
  room.proving.delete(frame.id);
}

function add(to, name, kind, text = "") {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  element.textContent = text;
  to.append(element);
  return element;
}

// Shows whether a proof is one, as found here, whatever the server says.
async function check(proof, element) {
  const refute = (why) => {
    element.classList.add("refuted");
    element.textContent = `✗ ${why}`;
  };
  if (!crypto.subtle) return refute("cannot be checked without HTTPS");
  const header = await sha256(join(bytes(proof.challenge), encoder.encode(proof.text)));
  const nonce = new DataView(new ArrayBuffer(8));
  nonce.setBigUint64(0, BigInt(proof.nonce));
  const hash = await sha256(join(header, new Uint8Array(nonce.buffer)));
  const zeros = leadingZeros(hash);
  if (hex(hash) !== proof.hash || proof.bits < 1 || zeros < proof.bits) return refute("not verified");
  const rate = proof.elapsed_ms ? ` · ${(proof.hashes / proof.elapsed_ms / 1000).toFixed(1)} MH/s` : "";
  element.textContent = `✓ verified · ${zeros} zero bits · nonce ${proof.nonce}${rate}`;
}

// As `crypto.randomUUID`, which a page has over TLS or from this machine only.
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));

function join(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const bytes = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));

function leadingZeros(hash) {
  const first = hash.findIndex((byte) => byte !== 0);
  return first < 0 ? 8 * hash.length : 8 * first + Math.clz32(hash[first]) - 24;
}

enter(entry.room.value);
