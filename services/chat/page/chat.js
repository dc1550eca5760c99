// The chat's page. Messages are inserted as text only, never as HTML.

const RETRY_MS = { first: 250, max: 8000 };
// The pause before a message that was refused temporarily is sent again.
const RESEND_MS = 1000;
const MAX_ROOM_LENGTH = 64;
const REQUESTS_PROOF = /.(!pow|!rpc)$/s;

const byId = (id) => document.getElementById(id);
const [entry, writing, log, state, fault] = ["entry", "writing", "log", "state", "fault"].map(byId);
const encoder = new TextEncoder();
const clientId = `${Date.now()}`;

// The current room: its socket, the number of the last message shown, and by id the messages that are sent and not shown yet.
let room = null;

entry.room.value = new URLSearchParams(location.search).get("room") ?? "MyChat";
entry.name.value = localStorage.getItem("name") ?? `guest ${clientId.slice(-4)}`;

entry.addEventListener("submit", (event) => {
  event.preventDefault();
  enterRoom(entry.room.value);
  writing.text.focus();
});

writing.addEventListener("submit", (event) => {
  event.preventDefault();
  const message = writing.text.value;
  if (!room || !message.trim()) return;
  const sent = { id: uuid(), username: entry.name.value, message };
  localStorage.setItem("name", sent.username);
  room.unconfirmed.set(sent.id, sent);
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

function enterRoom(name) {
  const length = [...name].length;
  fault.textContent = length < 1 || length > MAX_ROOM_LENGTH ? `A room has 1 to ${MAX_ROOM_LENGTH} characters. Enter another.` : "";
  if (fault.textContent) return;
  if (room) {
    clearTimeout(room.retry);
    room.left = true;
    room.socket?.close(1000);
  }
  log.replaceChildren();
  room = { name, seq: null, unconfirmed: new Map(), own: new Set(), proving: new Map(), failures: 0, socket: null, left: false };
  connect(room);
}

function connect(room) {
  clearTimeout(room.retry);
  const query = new URLSearchParams({ group_name: room.name });
  if (room.seq !== null) query.set("after", room.seq);
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/chat/ws/${clientId}?${query}`);
  room.socket = socket;
  showState("Connecting …");
  socket.addEventListener("open", () => {
    showState(`In ${room.name}`);
    // Each is stored once, because it has an id.
    for (const sent of room.unconfirmed.values()) send(sent);
  });
  socket.addEventListener("message", (event) => !room.left && receive(room, JSON.parse(event.data)));
  socket.addEventListener("close", () => {
    room.socket = null;
    if (room.left) return;
    const pause = Math.min(RETRY_MS.first * 2 ** room.failures++, RETRY_MS.max);
    showState("Offline. What you write is sent when the connection is back.", "offline");
    room.retry = setTimeout(connect, pause * (0.5 + Math.random() / 2), room);
  });
}

function send(sent) {
  if (room.socket?.readyState === WebSocket.OPEN) room.socket.send(JSON.stringify(sent));
}

function showState(text, kind = "") {
  state.textContent = text;
  state.className = kind;
}

function receive(room, frame) {
  if (frame.error) return handleRefusal(room, frame);
  // Not reset on open: a server without its database opens the socket and closes it.
  room.failures = 0;
  // After a reconnect, messages that are shown already may come again.
  if (room.seq !== null && frame.seq <= room.seq) return;
  room.seq = frame.seq;
  if (frame.kind === "message") room.unconfirmed.delete(frame.id);
  else removeProving(room, frame);
  show(room, frame);
}

function handleRefusal(room, { error, id, again }) {
  fault.textContent = error;
  const sent = room.unconfirmed.get(id);
  if (again && sent) {
    setTimeout(() => room.unconfirmed.has(id) && !room.left && send(sent), RESEND_MS);
    return;
  }
  room.unconfirmed.delete(id);
  // Put back to be corrected, unless another message is being written.
  if (sent && !writing.text.value) writing.text.value = sent.message;
}

function show(room, frame) {
  const isNear = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const line = document.createElement("li");
  line.dataset.seq = frame.seq;
  line.classList.add(frame.kind);
  const isOwn = frame.kind === "message" && room.own.has(frame.id);
  line.classList.toggle("own", isOwn);
  const by = appendElement(line, "div", "by");
  appendElement(by, "b", "", frame.username);
  const time = appendElement(by, "time", "", new Date(frame.sent_at).toLocaleTimeString());
  time.dateTime = frame.sent_at;
  appendElement(line, "div", "text", frame.message);
  if (frame.kind === "message" && REQUESTS_PROOF.test(frame.message)) {
    room.proving.set(frame.id, appendElement(line, "div", "proving", "proving …"));
  }
  if (frame.proof) verifyProof(frame.proof, appendElement(line, "div", "check", "checking …"));
  log.append(line);
  if (isNear || isOwn) log.scrollTop = log.scrollHeight;
}

function removeProving(room, frame) {
  room.proving.get(frame.id)?.remove();
  room.proving.delete(frame.id);
}

function appendElement(to, name, kind, text = "") {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  element.textContent = text;
  to.append(element);
  return element;
}

// Verifies a proof in the browser, without trusting the server, and shows the result.
async function verifyProof(proof, element) {
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

// Like `crypto.randomUUID`, which exists only in pages over TLS or from localhost.
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

enterRoom(entry.room.value);
