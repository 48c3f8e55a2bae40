// @ts-check
/**
 * The mirror: a fenced redo log, in IndexedDB, of what changes in the pages of a SQLite file.
 *
 * One IndexedDB database for each durably database, with three stores:
 *
 *   log     [epoch, seq]            one record: OPEN, COMMIT or SEAL
 *   chunks  [index, epoch, fold]    60 KiB of the SQLite file, immutable
 *   meta    "database"              { uuid, format, created_at }
 *
 * A commit is one `add` of one record under a key that only the owner of the epoch may use next, so
 * the write is its own fence. It is acknowledged when its transaction completes, never earlier.
 * A COMMIT may carry a manifest: which chunks, together with the log after its `from`, are the whole
 * file. Loading takes the newest manifest's chunks and replays the log behind them.
 *
 * Record, little endian:
 *
 *    0 magic u32      4 format u16   6 kind u8       7 reserved u8
 *    8 uuid 16       24 writer 16   40 epoch u32    44 seq u32
 *   48 previous record's crc u32    52 page size u32
 *   56 pages in the file u32        60 pages in this record u32
 *   64 chunks in the manifest u32   68 from epoch u32   72 from seq u32   76 reserved u32
 *   80 wall clock f64 (ms)
 *   88 pages (number, blocks: u32 each), then manifest entries (epoch, fold, crc: u32 each), then the
 *      blocks of the pages, then crc32 u32 of everything before it, in every format
 *
 * A page has 32 blocks of 128 bytes, and bit n of its `blocks` stands for block n: a record holds
 * those that changed, and all of a page that was not in the file before.
 */

const MAGIC = 0x4c525544; // "DURL"
/** Of the stores. */
const VERSION = 1;
/** Of a record. 1 was before the first release. */
const FORMAT = 2;
const OPEN = 1, COMMIT = 2, SEAL = 3;
const HEADER_BYTES = 88;
const HEADER_WORDS = HEADER_BYTES / 4;
const PAGE_ENTRY_WORDS = 2;
const MANIFEST_ENTRY_WORDS = 3;
const PAGE_BYTES = 4096;
const BLOCKS = 32;
const BLOCK_BYTES = PAGE_BYTES / BLOCKS;
const BLOCK_WORDS = BLOCK_BYTES / 4;
/** All blocks of a page: 32 bits, as JavaScript's operators on bits give them. */
const WHOLE = -1;
/** Below the 64 KiB from which Chromium keeps a value in a file of its own. */
const CHUNK_PAGES = 15;
const CHUNK_BYTES = CHUNK_PAGES * PAGE_BYTES;

const FOLD_RECORDS = 200;
const FOLD_BYTES = 1 << 20;
/** A log of this size is folded however many chunks that takes: it bounds the time of a load. */
const FOLD_BYTES_AT_MOST = 8 << 20;
const FOLD_RECORDS_AT_MOST = 4000;
/** After a fold that failed, as it does near the quota, so many records before the next try. */
const FOLD_RETRY_RECORDS = 20;
/** Between two chunks of a fold, so that commits hardly feel it. */
const FOLD_PAUSE_MS = 10;
/** Seals of this many epochs are kept: no tab that is still frozen is older. */
const KEPT_SEALS = 1000;
const LOAD_BATCH = 500;
/** Tries of one incident: to write a record whose outcome is unknown, to reach the storage again. */
const TRIES = 3;
/** Seconds after which an `open` is given up. One stands behind a deletion that another tab holds up,
 *  and no event ever tells. */
const OPEN_PATIENCE = 15;
/** The name of a database that is deleted as soon as it is there. */
const SCRATCH = "durably-scratch";
/** No other engine tells of data that it lost. */
const IS_CHROMIUM = "IDBVersionChangeEvent" in globalThis && "dataLoss" in IDBVersionChangeEvent.prototype;
/** Milliseconds from a call on another stack to the look whether it waits in `run_sync`. */
const STALL_MS = 5;

/** @typedef {[number, number]} Position epoch and seq */
/** @typedef {{ epoch: number, fold: number, crc: number }} Chunk */
/** @typedef {[number, number]} Changed the number of a page, and which of its blocks */
/** @typedef {{ kind: number, uuid: Uint8Array<ArrayBuffer>, epoch: number, seq: number,
 *   previous: number, pageCount: number, pages: Changed[], chunks: Chunk[] | null,
 *   from: Position, blocks: Uint8Array, crc: number, size: number }} LogRecord */
/** @typedef {{ from: Position, chunks: Chunk[] }} Manifest */

/** What is stored is not one whole; it is left as it is. */
class Damaged extends Error {}
/** There is no storage to be had. */
class Refused extends Error {}
/** The storage was there, and cannot be reached any more. */
class Lost extends Error {}
/** What was stored is gone. */
class Erased extends Lost {}
/** What is stored has a format that is yet to come. */
class Newer extends Error {}

const [T0, T1, T2, T3] = makeCrcTables();
/** Where the time of a record becomes words. */
const NOW = new Float64Array(1);
const WORDS_OF_NOW = new Uint32Array(NOW.buffer);

/** @returns {Uint32Array[]} */
function makeCrcTables() {
  const tables = Array.from({ length: 4 }, () => new Uint32Array(256));
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    tables[0][n] = c;
  }
  for (let t = 1; t < 4; t++) {
    for (let n = 0; n < 256; n++) {
      const c = tables[t - 1][n];
      tables[t][n] = tables[0][c & 255] ^ (c >>> 8);
    }
  }
  return tables;
}

/**
 * The state of a CRC-32 behind the first `count` of these words, four bytes at a time.
 * @param {Uint32Array} words
 * @param {number} count
 */
function crcOfWords(words, count) {
  let crc = -1;
  for (let i = 0; i < count; i++) {
    crc ^= words[i];
    crc = T3[crc & 255] ^ T2[(crc >>> 8) & 255] ^ T1[(crc >>> 16) & 255] ^ T0[crc >>> 24];
  }
  return crc;
}

/**
 * CRC-32 (IEEE 802.3).
 * @param {Uint8Array} bytes
 */
export function crc32(bytes) {
  const aligned = bytes.byteOffset & 3 ? bytes.slice() : bytes;
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length >>> 2);
  let crc = crcOfWords(words, words.length);
  for (let i = 4 * words.length; i < bytes.length; i++) {
    crc = T0[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** An id as the bytes that stand in a record. */
function randomId() {
  return crypto.getRandomValues(new Uint8Array(16));
}

/**
 * Call `each` for the blocks of a page, as runs of bytes: where one begins in the file, and its length.
 * @param {Changed} changed
 * @param {(at: number, length: number) => void} each
 */
function forRuns([page, blocks], each) {
  for (let block = 0; block < BLOCKS; block++) {
    const first = block;
    while (block < BLOCKS && (blocks >>> block) & 1) block++;
    if (block > first) each(page * PAGE_BYTES + first * BLOCK_BYTES, (block - first) * BLOCK_BYTES);
  }
}

/** @param {Changed[]} pages */
function bytesOf(pages) {
  let count = 0;
  for (const [, blocks] of pages) {
    for (let rest = blocks; rest !== 0; rest &= rest - 1) count += 1;
  }
  return count * BLOCK_BYTES;
}

/**
 * Which of the blocks of a page a write of all of it changes.
 * @param {Uint32Array} now
 * @param {Uint32Array} then
 */
function changedBlocks(now, then) {
  let blocks = 0;
  for (let block = 0; block < BLOCKS; block++) {
    const end = (block + 1) * BLOCK_WORDS;
    let at = end - BLOCK_WORDS;
    while (at < end && now[at] === then[at]) at++;
    if (at < end) blocks |= 1 << block;
  }
  return blocks;
}

/**
 * @param {{ kind: number, uuid: Uint8Array, writer: Uint8Array, epoch: number, seq: number,
 *   previous: number, pageCount: number, pages?: Changed[], manifest?: Manifest | null }} facts
 * @param {Uint8Array} [file] the SQLite file that the blocks are copied from
 * @returns {Uint8Array<ArrayBuffer>}
 */
function encodeRecord(facts, file) {
  const pages = facts.pages ?? [], chunks = facts.manifest?.chunks ?? [];
  let at = HEADER_WORDS + PAGE_ENTRY_WORDS * pages.length + MANIFEST_ENTRY_WORDS * chunks.length;
  // Little endian, as every machine with WebAssembly is.
  const words = new Uint32Array(at + bytesOf(pages) / 4 + 1), bytes = new Uint8Array(words.buffer);
  words[0] = MAGIC;
  words[1] = FORMAT | facts.kind << 16;
  bytes.set(facts.uuid, 8);
  bytes.set(facts.writer, 24);
  // Word by word, and without arrays for the parts: each checkpoint waits for this.
  words[10] = facts.epoch;
  words[11] = facts.seq;
  words[12] = facts.previous;
  words[13] = PAGE_BYTES;
  words[14] = facts.pageCount;
  words[15] = pages.length;
  words[16] = chunks.length;
  if (facts.manifest) words.set(facts.manifest.from, 17);
  NOW[0] = Date.now();
  words.set(WORDS_OF_NOW, 20);
  let entry = HEADER_WORDS;
  for (const changed of pages) {
    words[entry++] = changed[0];
    words[entry++] = changed[1];
    forRuns(changed, (from, length) => {
      bytes.set(/** @type {Uint8Array} */ (file).subarray(from, from + length), 4 * at);
      at += length / 4;
    });
  }
  for (const { epoch, fold, crc } of chunks) {
    words[entry++] = epoch;
    words[entry++] = fold;
    words[entry++] = crc;
  }
  words[at] = ~crcOfWords(words, at);
  return bytes;
}

/** @param {Uint8Array} record */
function crcOf(record) {
  return new DataView(record.buffer, record.byteOffset).getUint32(record.length - 4, true);
}

/**
 * @param {unknown} value
 * @param {Position} position
 * @returns {LogRecord}
 */
function decodeRecord(value, [epoch, seq]) {
  const where = `record ${epoch}.${seq}`;
  const words = value instanceof ArrayBuffer && value.byteLength % 4 === 0 ? new Uint32Array(value) : [];
  if (words[0] !== MAGIC || words.length * 4 < HEADER_BYTES + 4) {
    throw new Damaged(`${where} is not a record`);
  }
  const bytes = new Uint8Array(/** @type {ArrayBuffer} */ (value));
  const crc = crcOf(bytes);
  if (crc32(bytes.subarray(0, bytes.length - 4)) !== crc) {
    throw new Damaged(`${where} was altered (its checksum is wrong)`);
  }
  const format = words[1] & 0xffff;
  if (format > FORMAT) throw new Newer(String(format));
  if (format < FORMAT) throw new Damaged(`${where} is of a version before the first release`);
  if (words[10] !== epoch || words[11] !== seq) {
    throw new Damaged(`${where} is not where it was written`);
  }
  const manifestAt = HEADER_WORDS + PAGE_ENTRY_WORDS * words[15];
  const blocksAt = manifestAt + MANIFEST_ENTRY_WORDS * words[16];
  /** @type {Changed[]} */
  const pages = [];
  for (let at = HEADER_WORDS; at < manifestAt; at += PAGE_ENTRY_WORDS) {
    pages.push([words[at], words[at + 1] | 0]);
  }
  if (bytes.length !== 4 * blocksAt + bytesOf(pages) + 4) {
    throw new Damaged(`${where} has the wrong length`);
  }
  /** @type {Chunk[]} */
  const chunks = [];
  for (let at = manifestAt; at < blocksAt; at += MANIFEST_ENTRY_WORDS) {
    chunks.push({ epoch: words[at], fold: words[at + 1], crc: words[at + 2] });
  }
  return {
    kind: bytes[6],
    uuid: bytes.slice(8, 24),
    epoch, seq,
    previous: words[12],
    pageCount: words[14],
    pages,
    chunks: chunks.length ? chunks : null,
    from: [words[17], words[18]],
    blocks: bytes.subarray(4 * blocksAt, bytes.length - 4),
    crc,
    size: bytes.length,
  };
}

/**
 * Call a Python function on a stack of its own, below a callback of the browser or a microtask.
 *
 * `callPromising` waits for a turn of the event loop first: who calls it may stand on frames of
 * WebAssembly, whose part of the stack it would take (Pyodide 314, `callPyObjectKwargsPromising`). From
 * here nobody does, and a turn is a tenth of a checkpoint (docs/decisions/0034). So what makes the turn
 * answers at once while `callPromising` begins; a Pyodide that makes it otherwise just makes it. So does
 * any other engine: a page of Chromium that waits in a synchronous request hears of no IndexedDB.
 * @param {any} api Pyodide's own
 * @param {any} callee
 * @param {string[]} facts
 * @returns {Promise<any>}
 */
function callAtOnce(api, callee, facts) {
  const schedule = IS_CHROMIUM && api?.scheduleCallback;
  const atOnce = (/** @type {() => void} */ begin) => begin();
  // One that cannot be put in its place says so, and changes nothing.
  if (!schedule || !Reflect.set(api, "scheduleCallback", atOnce)) return callee.callPromising(...facts);
  try {
    return callee.callPromising(...facts);
  } finally {
    api.scheduleCallback = schedule;
  }
}

/**
 * A way to call Python functions on stacks of their own, where the code of a user may wait in `run_sync`.
 * @param {any} api Pyodide's own
 * @param {(answer: any) => void} answered called with what each of them answers
 * @param {() => void} stalled called when the last one waits there, and others may have to go on
 * @returns {(callee: any, ...facts: string[]) => void}
 */
function onOtherStacks(api, answered, stalled) {
  let calls = 0, pending = 0, isWatched = false;
  const look = () => {
    isWatched = false;
    // A turn of the event loop has come, so the call does not run: its stack is put aside.
    if (pending !== 0) stalled();
  };
  return (callee, ...facts) => {
    const number = pending = ++calls;
    callAtOnce(api, callee, facts).then((answer) => {
      if (pending === number) pending = 0;
      answered(answer);
    });
    // One timer for all the calls of some milliseconds: it costs as much as a part of a call.
    if (!isWatched) setTimeout(look, STALL_MS);
    isWatched = true;
  };
}

/** What to call when the browser closes a connection, while something waits for it.
 *  @type {WeakMap<IDBDatabase, Set<() => void>>} */
const CLOSINGS = new WeakMap();

/** @param {IDBDatabase} db */
function closingsOf(db) {
  const known = CLOSINGS.get(db);
  if (known) return known;
  /** @type {Set<() => void>} */
  const closings = new Set();
  CLOSINGS.set(db, closings);
  db.addEventListener("close", () => closings.forEach((closed) => closed()));
  return closings;
}

/**
 * What `listen` resolves with, unless the browser closes the connection: Chromium (seen in 156) then
 * tells most transactions under way nothing at all, and only the connection hears of its `close`.
 * @template T
 * @param {IDBDatabase} db
 * @param {(resolve: (value: T) => void, reject: (reason: unknown) => void) => void} listen
 * @returns {Promise<T>}
 */
function unlessClosed(db, listen) {
  const closings = closingsOf(db);
  return new Promise((resolve, reject) => {
    const closed = () => refuse(new DOMException("the browser closed the connection", "UnknownError"));
    /** @param {unknown} error */
    const refuse = (error) => {
      closings.delete(closed);
      reject(error);
    };
    closings.add(closed);
    try {
      listen((value) => {
        closings.delete(closed);
        resolve(value);
      }, refuse);
    } catch (error) {
      refuse(error);
    }
  });
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function result(request) {
  const { db } = /** @type {IDBTransaction} */ (request.transaction);
  return unlessClosed(db, (resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * @param {IDBTransaction} transaction
 * @returns {Promise<void>} resolves when the transaction is complete, and not at a request's success
 */
function complete(transaction) {
  return unlessClosed(transaction.db, (resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new DOMException("", "AbortError"));
  });
}

/**
 * @param {string} name
 * @param {boolean} mayCreate
 * @returns {Promise<IDBDatabase>}
 */
function openDatabase(name, mayCreate) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, VERSION);
    let isGivenUp = false, seconds = 0;
    /** @type {(reason: string) => void} */
    const giveUp = (reason) => {
      isGivenUp = true;
      clearInterval(patience);
      reject(new Refused(reason));
    };
    // Seconds are counted one by one: a page that was frozen meanwhile gives nothing up when it thaws.
    const patience = setInterval(() => {
      seconds += 1;
      if (seconds === OPEN_PATIENCE) {
        giveUp("the browser does not open it; another tab may be deleting or upgrading it");
      }
    }, 1000);
    request.onupgradeneeded = (event) => {
      // Of Chromium alone, and told once: to the first who opens anything behind the loss.
      const { dataLoss, dataLossMessage } = /** @type {any} */ (event);
      if (!mayCreate || dataLoss === "total") {
        // It was there before, and an empty one must not take its place.
        request.transaction?.abort();
        reject(new Erased(dataLoss === "total"
          ? `the browser found this site's storage damaged and deleted all of it (${dataLossMessage})`
          : "the stored database was cleared"));
        return;
      }
      request.result.createObjectStore("log");
      request.result.createObjectStore("chunks");
      request.result.createObjectStore("meta");
    };
    request.onblocked = () => giveUp("another tab still holds the old database open");
    request.onsuccess = () => {
      clearInterval(patience);
      if (isGivenUp) request.result.close();
      else resolve(request.result);
    };
    request.onerror = () => {
      clearInterval(patience);
      reject(request.error);
    };
  });
}

/** @param {unknown} error the storage cannot be reached, or is gone @returns {string} the status */
function lost(error) {
  const reason = error instanceof Error ? error.message : String(error);
  return `${error instanceof Erased ? "erased" : "lost"}: ${reason}`;
}

/**
 * Let Chromium begin a new file for the log of its own that it keeps of all databases of the origin.
 *
 * A browser that dies while it writes leaves half a record behind. The LevelDB of the next one writes
 * on behind it, and that of the one after finds the file damaged; Chromium then deletes everything
 * (https://github.com/google/leveldb/issues/1287, seen in 156). The deletion of a database compacts
 * what is stored, and compacting begins a new file: what is half written is not read again.
 */
function beginNewLog() {
  if (!IS_CHROMIUM) return;
  const opening = indexedDB.open(SCRATCH);
  // It may be there, where the page that made it was closed.
  opening.onsuccess = () => {
    opening.result.close();
    indexedDB.deleteDatabase(SCRATCH);
  };
}

/** The version of a stored database that is newer than this module. @param {string} name */
async function versionOf(name) {
  const known = await indexedDB.databases?.().catch(() => []) ?? [];
  return known.find((database) => database.name === name)?.version ?? VERSION + 1;
}

/**
 * What the browser says of the room for this origin; a field is missing where it does not say.
 * @returns {Promise<{ usage?: number, quota?: number, isPersisted?: boolean }>}
 */
async function room() {
  try {
    const [{ usage, quota }, isPersisted] = await Promise.all([
      navigator.storage.estimate(), navigator.storage.persisted(),
    ]);
    return { usage, quota, isPersisted };
  } catch {
    return {}; // An insecure context, or one without site data.
  }
}

/** The answer to a write for which there is no room, with the figures that are known. */
async function full() {
  const { usage, quota } = await room();
  return `full: ${usage ?? ""} ${quota ?? ""}`;
}

/**
 * Every key and value of a store from `lower` on, in batches.
 * @param {IDBObjectStore} store
 * @param {IDBKeyRange | null} range
 * @returns {Promise<{ keys: IDBValidKey[], values: unknown[] }>}
 */
async function readAll(store, range) {
  /** @type {IDBValidKey[]} */ const keys = [];
  /** @type {unknown[]} */ const values = [];
  for (let next = range; ; ) {
    const [someKeys, someValues] = await Promise.all([
      result(store.getAllKeys(next, LOAD_BATCH)),
      result(store.getAll(next, LOAD_BATCH)),
    ]);
    for (const key of someKeys) keys.push(key);
    for (const value of someValues) values.push(value);
    if (someKeys.length < LOAD_BATCH) return { keys, values };
    next = IDBKeyRange.lowerBound(someKeys[someKeys.length - 1], true);
  }
}

/**
 * The records that lead from the newest manifest, or from the beginning, to the present.
 * @param {Position[]} positions
 * @param {unknown[]} values
 * @returns {{ records: LogRecord[], manifest: Manifest | null, seals: Map<number, number> }}
 */
function readLog(positions, values) {
  const all = positions.map((position, i) => decodeRecord(values[i], position));
  /** @type {Map<number, number>} */ const seals = new Map();
  /** @type {Manifest | null} */ let manifest = null;
  for (const record of all) {
    if (record.kind === SEAL) seals.set(record.epoch, record.seq);
    if (record.chunks !== null) manifest = { from: record.from, chunks: record.chunks };
  }
  const [fromEpoch, fromSeq] = manifest?.from ?? [1, -1];
  const records = all.filter(({ epoch, seq }) => epoch > fromEpoch || (epoch === fromEpoch && seq > fromSeq));
  const uuid = all.length ? hex(all[all.length - 1].uuid) : "";
  let previous = { epoch: fromEpoch, seq: fromSeq, kind: 0, crc: manifest ? -1 : 0 };
  for (const record of records) {
    const expected = previous.kind === SEAL
      ? [previous.epoch + 1, 0]
      : [previous.epoch, previous.seq + 1];
    if (record.epoch !== expected[0] || record.seq !== expected[1]) {
      throw new Damaged(`record ${expected.join(".")} is missing`);
    }
    if (previous.crc !== -1 && record.previous !== previous.crc) {
      throw new Damaged(`record ${record.epoch}.${record.seq} does not follow the one before it`);
    }
    if (hex(record.uuid) !== uuid) {
      throw new Damaged(`record ${record.epoch}.${record.seq} belongs to another database`);
    }
    previous = record;
  }
  return { records, manifest, seals };
}

/**
 * The bytes of the manifest's chunks; what it does not name is garbage.
 * @param {IDBValidKey[]} keys
 * @param {unknown[]} values
 * @param {Manifest | null} manifest
 * @param {IDBValidKey[]} garbage to which its keys are added
 */
function pickChunks(keys, values, manifest, garbage) {
  const entries = manifest?.chunks ?? [];
  /** @type {(Uint8Array | null)[]} */
  const chunks = entries.map(() => null);
  keys.forEach((key, i) => {
    const [index, epoch, fold] = /** @type {[number, number, number]} */ (key);
    const entry = entries[index];
    if (entry?.epoch !== epoch || entry.fold !== fold) {
      garbage.push(key);
      return;
    }
    const bytes = new Uint8Array(/** @type {ArrayBuffer} */ (values[i]));
    if (crc32(bytes) !== entry.crc) throw new Damaged(`chunk ${index} was altered (its checksum is wrong)`);
    chunks[index] = bytes;
  });
  const missing = chunks.indexOf(null);
  if (missing !== -1) throw new Damaged(`chunk ${missing} is missing`);
  return chunks;
}

/**
 * The SQLite file as chunks and log say it is.
 * @param {LogRecord[]} records
 * @param {(Uint8Array | null)[]} chunks
 */
function rebuild(records, chunks) {
  const pageCount = records.length ? records[records.length - 1].pageCount : 0;
  const file = new Uint8Array(pageCount * PAGE_BYTES);
  const isThere = new Uint8Array(pageCount);
  chunks.forEach((chunk, index) => {
    if (!chunk) return;
    const first = index * CHUNK_PAGES;
    const pages = Math.min(chunk.length / PAGE_BYTES, pageCount - first);
    if (pages <= 0) return;
    file.set(chunk.subarray(0, pages * PAGE_BYTES), first * PAGE_BYTES);
    isThere.fill(1, first, first + pages);
  });
  for (const { pages, blocks } of records) {
    let taken = 0;
    for (const changed of pages) {
      forRuns(changed, (at, length) => {
        if (at < file.length) file.set(blocks.subarray(taken, taken + length), at);
        taken += length;
      });
      if (changed[1] === WHOLE) isThere[changed[0]] = 1;
    }
  }
  const missing = isThere.indexOf(0);
  if (missing !== -1) throw new Damaged(`page ${missing} of ${pageCount} is missing`);
  return file;
}

/** @typedef {[string, string, Uint8Array?, string?, string?]} Stored store and key as JSON; bytes, or
 *   else the value as JSON, or else why the browser could not read it */

/**
 * Everything that is stored under a name, whatever it is and whichever version wrote it. Neither the
 * fence nor anything else is touched.
 * @param {string} name of the durably database
 * @returns {Promise<Stored[] | undefined>} undefined where there is no such database
 */
export async function readAsStored(name) {
  await null; // Off Python's stack, as in `#write`.
  const db = await openAsStored(`durably:${name}`);
  if (!db) return undefined;
  try {
    const stores = [...db.objectStoreNames];
    /** @type {Stored[]} */ const records = [];
    if (!stores.length) return records;
    const transaction = db.transaction(stores, "readonly");
    for (const store of stores) {
      const { keys, values } = await readAll(transaction.objectStore(store), null);
      keys.forEach((key, i) => records.push(asStored(store, key, values[i])));
    }
    return records;
  } catch {
    return await readOneByOne(db);
  } finally {
    db.close();
  }
}

/**
 * The same where the browser cannot read every value: one that has lost the file it kept a large
 * value in fails the whole transaction (Chromium 156). So each has one of its own.
 * @param {IDBDatabase} db
 * @returns {Promise<Stored[]>}
 */
async function readOneByOne(db) {
  /** @type {Stored[]} */ const records = [];
  for (const store of db.objectStoreNames) {
    const read = () => db.transaction(store, "readonly").objectStore(store);
    for (const key of await result(read().getAllKeys())) {
      try {
        records.push(asStored(store, key, await result(read().get(key))));
      } catch (error) {
        records.push([store, JSON.stringify(key), undefined, undefined, String(error)]);
      }
    }
  }
  return records;
}

/** @type {(store: string, key: IDBValidKey, value: unknown) => Stored} */
function asStored(store, key, value) {
  const bytes = value instanceof ArrayBuffer ? new Uint8Array(value)
    : ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : undefined;
  const text = bytes ? undefined : JSON.stringify(value) ?? JSON.stringify(String(value));
  return [store, JSON.stringify(key), bytes, text];
}

/**
 * @param {string} name
 * @returns {Promise<IDBDatabase | null>} of whichever version there is
 */
function openAsStored(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name);
    let isThere = true;
    request.onupgradeneeded = () => {
      isThere = false;
      request.transaction?.abort(); // Leaves nothing behind.
    };
    request.onsuccess = () => {
      const db = request.result;
      db.onversionchange = () => db.close();
      resolve(db);
    };
    request.onerror = () => isThere ? reject(request.error) : resolve(null);
  });
}

/** A file in Emscripten's memory, and what in it was written since that was last taken. */
class TrackedFile {
  #fs;
  #node;
  #path;
  /** The blocks of each page that changed. @type {Map<number, number>} */
  #dirty = new Map();

  /**
   * @param {any} fs Emscripten's FS
   * @param {string} path
   * @param {Uint8Array} bytes
   */
  constructor(fs, path, bytes) {
    fs.mkdirTree(path.slice(0, path.lastIndexOf("/")));
    fs.writeFile(path, bytes, { canOwn: true }); // Nobody else has these bytes, and so no copy.
    this.#fs = fs;
    this.#path = path;
    const node = this.#node = fs.lookupPath(path).node;
    const { stream_ops: streamOps, node_ops: nodeOps } = node;
    // Streams take these from the node when it is opened, so SQLite's will have them.
    node.stream_ops = {
      ...streamOps,
      /** @type {(stream: any, buffer: any, offset: number, length: number, position: number, canOwn: any) => number} */
      write: (stream, buffer, offset, length, position, canOwn) => {
        this.#writes(buffer, offset, length, position);
        return streamOps.write(stream, buffer, offset, length, position, canOwn);
      },
    };
    node.node_ops = {
      ...nodeOps,
      /** @type {(node: any, attributes: any) => void} */
      setattr: (node, attributes) => {
        if (attributes.size > node.usedBytes) {
          this.#add(node.usedBytes, attributes.size);
        }
        nodeOps.setattr(node, attributes);
      },
    };
  }

  /** @type {(buffer: any, offset: number, length: number, position: number) => void} */
  #writes(buffer, offset, length, position) {
    const { contents, usedBytes } = this.#node;
    // SQLite writes one page at a time. What is new in the file is new as a whole.
    const isOnePage = length === PAGE_BYTES && position % PAGE_BYTES === 0 && offset % 4 === 0;
    if (!isOnePage || position + length > usedBytes) {
      this.#add(position, position + length);
      return;
    }
    const now = new Uint32Array(contents.buffer, contents.byteOffset + position, PAGE_BYTES / 4);
    const then = new Uint32Array(buffer.buffer, buffer.byteOffset + offset, PAGE_BYTES / 4);
    // One block also where none differs: the record of a commit proves that the epoch is still ours.
    this.#change(position / PAGE_BYTES, changedBlocks(now, then) || 1);
  }

  /** Every page between two places in the file. @param {number} from @param {number} to */
  #add(from, to) {
    for (let page = Math.floor(from / PAGE_BYTES); page * PAGE_BYTES < to; page++) {
      this.#change(page, WHOLE);
    }
  }

  /** @param {number} page @param {number} blocks */
  #change(page, blocks) {
    this.#dirty.set(page, (this.#dirty.get(page) ?? 0) | blocks);
  }

  get pageCount() {
    return Math.ceil(this.#node.usedBytes / PAGE_BYTES);
  }

  get isDirty() {
    return this.#dirty.size > 0;
  }

  /** The bytes as they are now: a view that is good until the next write. */
  get bytes() {
    return this.#node.contents.subarray(0, this.#node.usedBytes);
  }

  /** How many pages were written that are not stored; `aboard` are about to be. @param {Changed[]} aboard */
  countDirty(aboard) {
    return new Map([...this.#dirty, ...aboard]).size;
  }

  /** For each page whether it was written and is not stored. */
  dirtyFlags() {
    return Array.from({ length: this.pageCount }, (_, page) => this.#dirty.has(page));
  }

  /** What was written since the last call and is still part of the file, in the order of its pages. */
  takeDirty() {
    const count = this.pageCount;
    /** @type {Changed[]} */
    const pages = [];
    for (const changed of this.#dirty) {
      if (changed[0] < count) pages.push(changed);
    }
    this.#dirty.clear();
    return pages.length > 1 ? pages.sort(([a], [b]) => a - b) : pages;
  }

  /** @param {Changed[]} pages */
  putBack(pages) {
    for (const [page, blocks] of pages) this.#change(page, blocks);
  }

  remove() {
    this.#fs.unlink(this.#path);
  }
}

/**
 * One life of one database: `takeOver` once, `commit` any number of times, `close` once.
 * The answers are plain strings: "ok", or "full: <usage> <quota>", "fenced", "newer: <found> <known>",
 * "lost: …", "erased: …", "refused: …", "damaged: …".
 */
export class Mirror {
  #fs;
  #name;
  #path;
  /** @type {(status: string) => void} */
  #landed;
  #failed;
  /** @type {IDBDatabase | null} */
  #db = null;
  /** @type {Promise<IDBDatabase> | null} */
  #reopening = null;
  /** @type {TrackedFile | null} */
  #file = null;
  #uuid = randomId();
  #writer = randomId();
  #epoch = 0;
  #seq = 0;
  #crc = 0;
  /** @type {Promise<string> | null} */
  #takingOver = null;
  /** @type {Promise<string> | null} */
  #appending = null;
  /** What the record under way holds. @type {Changed[]} */
  #aboard = [];
  #isClosed = false;
  /** Why the database cannot be opened again from here. */
  #gone = "";
  /** @type {Chunk[]} */
  #chunks = [];
  /** @type {Set<number>} */
  #dirtyChunks = new Set();
  #logRecords = 0;
  #logBytes = 0;
  #folds = 0;
  #isFolding = false;
  /** How many records the log has to have for the next fold, after one that failed. */
  #foldNotBefore = 0;
  /** Keys that nothing refers to any more: chunks of older manifests, and of folds that failed.
   *  @type {IDBValidKey[]} */
  #garbage = [];
  /** The seal of each earlier epoch, whose other records the next fold deletes.
   *  @type {Map<number, number>} */
  #seals = new Map();

  /**
   * @param {any} fs Emscripten's FS
   * @param {string} name of the durably database
   * @param {string} path where SQLite will open the file
   * @param {any} landed a Python function, called once for each `commit` that returned true; without
   *   a status where all went well
   * @param {any} stalled another one, called while `landed` does not come back: what it has woken
   *   waits in `run_sync`
   * @param {any} failed another one, called when the storage goes away between commits
   * @param {boolean} switchesStacks whether what is called there may call `run_sync`
   * @param {any} [api] Pyodide's own, of which no more than `scheduleCallback` is used
   */
  constructor(fs, name, path, landed, stalled, failed, switchesStacks, api) {
    this.#fs = fs;
    this.#name = `durably:${name}`;
    this.#path = path;
    /** @param {boolean | undefined} isStrict the commit that Python wants next */
    const goOn = (isStrict) => {
      if (isStrict === undefined || this.#isClosed) return;
      if (!this.commit(isStrict)) call(landed);
    };
    const callOnOtherStack = onOtherStacks(api, goOn, () => { if (!this.#isClosed) call(stalled); });
    /** @type {(callee: any, ...facts: string[]) => void} */
    const call = switchesStacks ? callOnOtherStack : (callee, ...facts) => goOn(callee(...facts));
    this.#landed = (status) => status === "ok" ? call(landed) : call(landed, status);
    /** @type {(status: string) => void} */
    this.#failed = switchesStacks ? (status) => failed.callPromising(status) : failed;
  }

  /** Of this life, once it has taken over. */
  get epoch() {
    return this.#epoch;
  }

  /**
   * Seal the old epoch, open the next, and load the file.
   * @param {number} knownEpoch the database that is known has come to this epoch; 0: none is known
   */
  takeOver(knownEpoch) {
    this.#takingOver = this.#takeOver(knownEpoch);
    return this.#takingOver;
  }

  /** @param {number} knownEpoch */
  async #takeOver(knownEpoch) {
    await null; // Off Python's stack, as in `#write`.
    try {
      this.#db = knownEpoch ? await this.#reopen() : await this.#open(true);
      // Who knows of an epoch has met it in this life of the browser; its leader has done this.
      if (!knownEpoch) beginNewLog();
      await this.#openEpoch(this.#db, knownEpoch);
      await this.#load(this.#db);
      return "ok";
    } catch (error) {
      if (error instanceof Damaged) return `damaged: ${error.message}`;
      if (error instanceof Lost) return lost(error);
      if (error instanceof Newer) return `newer: ${error.message} ${FORMAT}`;
      if (error instanceof DOMException && error.name === "QuotaExceededError") return full();
      if (error instanceof DOMException && error.name === "VersionError") {
        return `newer: ${await versionOf(this.#name)} ${VERSION}`;
      }
      return `refused: ${error instanceof Refused ? error.message : String(error)}`;
    }
  }

  /**
   * Make the file, as it is now, durable. The state is captured no later than this call's commit
   * starts, and holds at least everything written before the call.
   * @param {boolean} isStrict ask the browser to reach the disk
   * @returns {boolean} false where there is nothing to do; otherwise `landed` will be called
   */
  commit(isStrict) {
    if (!this.#file?.isDirty && !isStrict && !this.#appending) return false;
    void this.#commit(isStrict).then(this.#landed, (error) => this.#landed(lost(error)));
    return true;
  }

  /** Let go of everything; resolves when no takeover and no commit is under way any more. */
  async close() {
    this.#isClosed = true;
    // A takeover that nobody waits for any more must not go on behind this: it would fence the next.
    await this.#takingOver;
    this.#drop();
    while (this.#appending) await this.#appending;
    this.#drop(); // It may have opened another connection.
    this.#file?.remove();
    this.#file = null;
  }

  async state() {
    const dirtyPages = this.#file?.countDirty(this.#aboard) ?? 0;
    return { epoch: this.#epoch, dirtyPages, ...await room() };
  }

  /** Ask the browser to keep what this origin stores; whether it will. */
  async persist() {
    const storage = navigator.storage;
    // In a worker a page can only be asked whether it has asked.
    return await (storage?.persist?.() ?? storage?.persisted?.()) ?? false;
  }

  /**
   * Read back everything that is stored, and compare it with the file page by page.
   * @returns {Promise<string[]>} what is wrong
   */
  async verify() {
    try {
      for (;;) {
        while (this.#appending) await this.#appending;
        if (this.#db) return await this.#compare(this.#db);
        await this.#reopen();
      }
    } catch (error) {
      return [`it cannot be read back: ${error instanceof Error ? error.message : error}`];
    }
  }

  /**
   * Called while no commit is under way. Those that come now stand behind the one transaction here,
   * so what it reads is what the file was at this moment, but for the dirty pages.
   * @param {IDBDatabase} db
   */
  async #compare(db) {
    const file = /** @type {TrackedFile} */ (this.#file);
    const transaction = db.transaction(["log", "chunks"], "readonly");
    const bytes = file.bytes.slice(), isDirty = file.dirtyFlags();
    const last = { epoch: this.#epoch, seq: this.#seq, crc: this.#crc };
    const log = await readAll(transaction.objectStore("log"), null);
    const stored = await readAll(transaction.objectStore("chunks"), null);
    const { records, manifest } = readLog(/** @type {Position[]} */ (log.keys), log.values);
    const end = records[records.length - 1];
    if (end?.epoch !== last.epoch || end.seq !== last.seq || end.crc !== last.crc) {
      const found = end ? `${end.epoch}.${end.seq}` : "nothing";
      return [`its last record is ${found}, and not ${last.epoch}.${last.seq} as written from here`];
    }
    const copy = rebuild(records, pickChunks(stored.keys, stored.values, manifest, []));
    /** @type {string[]} */
    const problems = [];
    for (let at = 0; at < Math.max(bytes.length, copy.length); at += PAGE_BYTES) {
      const page = at / PAGE_BYTES, next = at + PAGE_BYTES;
      if (!isDirty[page] && crc32(bytes.subarray(at, next)) !== crc32(copy.subarray(at, next))) {
        problems.push(`page ${page} is stored otherwise than it is in memory`);
      }
    }
    return problems;
  }

  /** @param {boolean} isStrict */
  async #commit(isStrict) {
    while (this.#appending) {
      const status = await this.#appending;
      if (status !== "ok" && !status.startsWith("full")) return status;
    }
    if (!this.#file?.isDirty && !isStrict) return "ok";
    const status = await this.#append(isStrict, null);
    if (status === "ok" && this.#isFoldDue()) void this.#fold();
    return status;
  }

  /**
   * Append one COMMIT with every dirty page. At most one append is under way.
   * @param {boolean} isStrict
   * @param {Manifest | null} manifest
   * @returns {Promise<string>}
   */
  #append(isStrict, manifest) {
    const appending = this.#appendNow(isStrict, manifest);
    const clear = () => {
      this.#appending = null;
    };
    this.#appending = appending;
    appending.then(clear, clear); // The first to hear of it.
    return appending;
  }

  /** @type {(isStrict: boolean, manifest: Manifest | null) => Promise<string>} */
  async #appendNow(isStrict, manifest) {
    const file = this.#file;
    if (!file) return "lost: the mirror is closed";
    const pages = this.#aboard = file.takeDirty();
    let isWritten = false;
    /** @type {Uint8Array<ArrayBuffer>} */ let record;
    try {
      record = encodeRecord({
        kind: COMMIT, uuid: this.#uuid, writer: this.#writer, epoch: this.#epoch,
        seq: this.#seq + 1, previous: this.#crc, pageCount: file.pageCount, pages, manifest,
      }, file.bytes);
      const status = await this.#write(record, isStrict);
      if (status !== "ok") return status;
      isWritten = true;
    } finally {
      // Also where there was no memory for the record: a page is never forgotten.
      if (!isWritten) file.putBack(pages);
      this.#aboard = [];
    }
    this.#seq += 1;
    this.#crc = crcOf(record);
    this.#logRecords += 1;
    this.#logBytes += record.length;
    for (const [page] of pages) this.#dirtyChunks.add(Math.floor(page / CHUNK_PAGES));
    return "ok";
  }

  /**
   * Write a record at the one key this owner may use next, and find out what became of it.
   * @param {Uint8Array<ArrayBuffer>} record
   * @param {boolean} isStrict
   * @returns {Promise<string>}
   */
  async #write(record, isStrict) {
    // Python may call from a switched stack, on which Chromium now and then crashes while it collects
    // garbage (docs/decisions/0015). In a microtask IndexedDB is called from the ordinary one.
    await null;
    /** @type {Position} */
    const key = [this.#epoch, this.#seq + 1];
    /** @type {unknown} */
    let cause = null;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      try {
        const db = this.#db ?? await this.#reopen();
        const outcome = await this.#add(db, record, key, isStrict);
        if (outcome === "complete") return "ok";
        if (outcome === "QuotaExceededError") return await full();
        cause = outcome;
        const found = await this.#readBack(key);
        if (found === crcOf(record)) return "ok";
        if (found !== null) return "fenced";
      } catch (error) {
        if (error instanceof Lost) return lost(error);
        cause = error;
        this.#drop();
      }
    }
    return lost(cause);
  }

  /**
   * @param {IDBDatabase} db
   * @param {Uint8Array<ArrayBuffer>} record
   * @param {Position} key
   * @param {boolean} isStrict
   * @returns {Promise<string>} "complete", or the name of the error that aborted it
   */
  #add(db, record, key, isStrict) {
    return unlessClosed(db, (resolve) => {
      const transaction = db.transaction("log", "readwrite", {
        durability: isStrict ? "strict" : "relaxed",
      });
      const request = transaction.objectStore("log").add(record.buffer, key);
      transaction.oncomplete = () => resolve("complete");
      transaction.onabort = () => {
        // The request's error is the same in every engine, the transaction's is not. But a request
        // that was not answered before its transaction was aborted has none, and says so by throwing.
        const error = request.readyState === "done" ? request.error : null;
        resolve((error ?? transaction.error)?.name ?? "unknown");
      };
      // With every request made and the commit asked for, nothing is left that a page that
      // freezes now could leave half open.
      transaction.commit();
    });
  }

  /**
   * The checksum of the record at a key, or null. Ordered behind any write that is still pending.
   * @param {Position} key
   * @returns {Promise<number | null>}
   */
  async #readBack(key) {
    const db = this.#db ?? await this.#reopen();
    const value = await result(db.transaction("log", "readonly").objectStore("log").get(key));
    return value instanceof ArrayBuffer ? crcOf(new Uint8Array(value)) : null;
  }

  /** @param {boolean} mayCreate */
  async #open(mayCreate) {
    if (typeof indexedDB === "undefined") throw new Refused("this page has no IndexedDB");
    const db = await openDatabase(this.#name, mayCreate);
    db.onclose = () => {
      this.#drop();
      void this.#check();
    };
    db.onversionchange = ({ newVersion }) => {
      this.#gone = newVersion === null
        ? "the database is being deleted"
        : "a newer version of durably is upgrading it";
      this.#drop();
      void this.#check();
    };
    return db;
  }

  /** The connection went away: find out whether the storage did, and say so before it is needed. */
  async #check() {
    while (this.#appending) await this.#appending;
    // A takeover says itself what it has met.
    if (!this.#file) return;
    /** @type {unknown} */
    let cause = new Erased("its last record is not there any more");
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const crc = this.#crc;
      try {
        if (await this.#readBack([this.#epoch, this.#seq]) === crc) return;
        break;
      } catch (error) {
        cause = error;
        if (error instanceof Lost) break;
        this.#drop();
      }
    }
    if (!this.#isClosed) this.#failed(lost(cause));
  }

  /** @returns {Promise<IDBDatabase>} of the one attempt that is under way */
  #reopen() {
    this.#reopening ??= this.#reopenNow().finally(() => {
      this.#reopening = null;
    });
    return this.#reopening;
  }

  async #reopenNow() {
    if (this.#isClosed) throw new Lost("the mirror is closed");
    if (this.#gone) throw new Lost(this.#gone);
    try {
      this.#db = await this.#open(false);
    } catch (error) {
      if (error instanceof DOMException && error.name === "VersionError") {
        throw new Lost("a newer version of durably has upgraded it");
      }
      throw error;
    }
    if (this.#isClosed && !this.#appending) {
      this.#drop();
      throw new Lost("the mirror is closed");
    }
    return this.#db;
  }

  #drop() {
    this.#db?.close();
    this.#db = null;
  }

  /** @param {IDBDatabase} db @param {number} knownEpoch */
  async #openEpoch(db, knownEpoch) {
    const stores = ["log", "meta", "chunks"];
    const transaction = db.transaction(stores, "readwrite", { durability: "strict" });
    const done = complete(transaction);
    done.catch(() => {});
    const log = transaction.objectStore("log");
    try {
      const cursor = await result(log.openCursor(null, "prev"));
      /** @type {number} */ let previous = 0;
      if (cursor) {
        const last = decodeRecord(cursor.value, /** @type {Position} */ (cursor.key));
        this.#uuid = last.uuid;
        this.#epoch = last.epoch + 1;
        previous = last.crc;
        if (last.kind !== SEAL) {
          const seal = encodeRecord({
            kind: SEAL, uuid: last.uuid, writer: this.#writer, epoch: last.epoch,
            seq: last.seq + 1, previous, pageCount: last.pageCount,
          });
          log.add(seal.buffer, [last.epoch, last.seq + 1]);
          previous = crcOf(seal);
        }
        this.#crc = this.#addOpen(log, previous, last.pageCount);
      } else {
        const meta = transaction.objectStore("meta");
        const known = await result(meta.get("database"));
        const chunks = await result(transaction.objectStore("chunks").count());
        if (known || chunks) throw new Damaged("its log is missing");
        this.#epoch = 1;
        meta.put(
          { uuid: hex(this.#uuid), format: VERSION, created_at: Date.now() }, "database",
        );
        this.#crc = this.#addOpen(log, previous, 0);
      }
      // Another one begins with epoch 1 again. Whoever knows of more does not go on in it.
      if (this.#epoch <= knownEpoch) throw new Erased("the stored database was cleared and made anew");
    } catch (error) {
      try {
        transaction.abort();
      } catch {
        // It has aborted already, which is what `error` tells.
      }
      await done.catch(() => {});
      throw error;
    }
    await done;
  }

  /** @type {(log: IDBObjectStore, previous: number, pageCount: number) => number} */
  #addOpen(log, previous, pageCount) {
    const open = encodeRecord({
      kind: OPEN, uuid: this.#uuid, writer: this.#writer, epoch: this.#epoch, seq: 0,
      previous, pageCount,
    });
    log.add(open.buffer, [this.#epoch, 0]);
    return crcOf(open);
  }

  /** @param {IDBDatabase} db */
  async #load(db) {
    const transaction = db.transaction(["log", "chunks"], "readonly");
    const log = await readAll(transaction.objectStore("log"), null);
    const { records, manifest, seals } = readLog(/** @type {Position[]} */ (log.keys), log.values);
    const stored = await readAll(transaction.objectStore("chunks"), null);
    const chunks = pickChunks(stored.keys, stored.values, manifest, this.#garbage);
    this.#file = new TrackedFile(this.#fs, this.#path, rebuild(records, chunks));
    this.#chunks = manifest?.chunks ?? [];
    this.#seals = seals;
    for (const record of records) {
      this.#logRecords += 1;
      this.#logBytes += record.size;
      for (const [page] of record.pages) this.#dirtyChunks.add(Math.floor(page / CHUNK_PAGES));
    }
  }

  #isFoldDue() {
    if (this.#isFolding || this.#isClosed || this.#logRecords < this.#foldNotBefore) return false;
    if (this.#logBytes >= FOLD_BYTES_AT_MOST || this.#logRecords >= FOLD_RECORDS_AT_MOST) return true;
    // Not before the log has half the bytes that the fold will write: so the cost of folding is
    // at most twice that of the log, however large the database is.
    return (this.#logRecords >= FOLD_RECORDS || this.#logBytes >= FOLD_BYTES)
      && 2 * this.#logBytes >= this.#dirtyChunks.size * CHUNK_BYTES;
  }

  /**
   * Write the chunks that changed, one at a time between commits, then publish a manifest that
   * names them, then trim the log. A crash anywhere leaves the older manifest and its log whole.
   *
   * A chunk is copied from the file as it is at that moment, so it may hold later commits than
   * `from`. That is harmless: replay starts behind `from` and writes each block that changed since,
   * and the record that publishes the manifest carries whatever the log did not hold yet.
   */
  async #fold() {
    this.#isFolding = true;
    /** @type {Position} */
    const from = [this.#epoch, this.#seq];
    const changed = [...this.#dirtyChunks].sort((a, b) => a - b);
    const records = this.#logRecords, bytes = this.#logBytes;
    this.#dirtyChunks = new Set();
    this.#folds += 1;
    /** Keys of chunks that no manifest names yet. @type {IDBValidKey[]} */
    let unpublished = [];
    try {
      const chunks = this.#chunks.slice();
      /** @type {IDBValidKey[]} */
      const superseded = [];
      for (const index of changed) {
        await new Promise((resolve) => setTimeout(resolve, FOLD_PAUSE_MS));
        unpublished.push([index, this.#epoch, this.#folds]);
        const chunk = await this.#writeChunk(index);
        // The file may grow again before the manifest is published: then it names the old chunk.
        if (!chunk) continue;
        const old = chunks[index];
        if (old) superseded.push([index, old.epoch, old.fold]);
        chunks[index] = chunk;
      }
      while (this.#appending) await this.#appending;
      const pages = this.#file?.pageCount ?? 0;
      const kept = chunks.slice(0, Math.ceil(pages / CHUNK_PAGES));
      for (let index = 0; index < kept.length; index++) {
        if (!kept[index]) throw new Lost(`chunk ${index} came and went during the fold`);
      }
      chunks.slice(kept.length).forEach(({ epoch, fold }, i) => superseded.push([kept.length + i, epoch, fold]));
      const status = await this.#append(false, { from, chunks: kept });
      if (status !== "ok") throw new Lost(status);
      this.#chunks = kept;
      this.#logRecords -= records;
      this.#logBytes -= bytes;
      this.#garbage.push(...superseded);
      unpublished = [];
      this.#foldNotBefore = 0;
      await this.#trim(from);
    } catch {
      // The older manifest holds; the next fold writes these chunks again. It deletes what this one
      // wrote once its own manifest is there: then this one's cannot have been stored unseen.
      for (const index of changed) this.#dirtyChunks.add(index);
      this.#garbage.push(...unpublished);
      this.#foldNotBefore = this.#logRecords + FOLD_RETRY_RECORDS;
    } finally {
      this.#isFolding = false;
    }
  }

  /**
   * @param {number} index
   * @returns {Promise<Chunk | null>} null where the file has become shorter than this chunk
   */
  async #writeChunk(index) {
    const file = this.#file;
    if (!file || !this.#db) throw new Lost("the mirror is closed");
    const bytes = file.bytes.slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
    if (bytes.length === 0) return null;
    const chunk = { epoch: this.#epoch, fold: this.#folds, crc: crc32(bytes) };
    const key = [index, chunk.epoch, chunk.fold];
    const writing = this.#db.transaction("chunks", "readwrite", { durability: "relaxed" });
    const written = complete(writing);
    writing.objectStore("chunks").add(bytes.buffer, key);
    writing.commit();
    await written;
    const reading = this.#db.transaction("chunks", "readonly").objectStore("chunks");
    const back = await result(reading.get(key));
    if (!(back instanceof ArrayBuffer) || crc32(new Uint8Array(back)) !== chunk.crc) {
      throw new Lost(`chunk ${index} did not read back as written`);
    }
    return chunk;
  }

  /**
   * Delete what the published manifest has made superfluous. Seals stay: they are the fence.
   * @param {Position} from
   */
  async #trim(from) {
    if (!this.#db) return;
    const trimming = this.#db.transaction(["log", "chunks"], "readwrite", { durability: "relaxed" });
    const trimmed = complete(trimming);
    const log = trimming.objectStore("log"), chunks = trimming.objectStore("chunks");
    log.delete(IDBKeyRange.bound([from[0], 0], from));
    for (const [epoch, seal] of this.#seals) {
      if (epoch <= this.#epoch - KEPT_SEALS) log.delete([epoch, seal]);
      else if (seal > 0) log.delete(IDBKeyRange.bound([epoch, 0], [epoch, seal], false, true));
    }
    for (const key of this.#garbage) chunks.delete(key);
    await trimmed;
    this.#seals.clear();
    this.#garbage = [];
  }
}
