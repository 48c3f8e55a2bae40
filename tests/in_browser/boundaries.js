// @ts-check
/**
 * Counts the requests that one life of a database makes to IndexedDB, and at one of them aborts its
 * transaction, or lets the page that made it die: what it had sent may land or not, but no event
 * reaches it any more, and nothing that it still does reaches IndexedDB.
 */

const database = IDBDatabase.prototype, factory = IDBFactory.prototype;
const stores = /** @type {Record<string, any>} */ (/** @type {unknown} */ (IDBObjectStore.prototype));
const transactions = IDBTransaction.prototype;
const original = {
  abort: transactions.abort, commit: transactions.commit, open: factory.open,
  transaction: database.transaction,
};
const METHODS = [
  "add", "put", "delete", "clear", "get", "getAll", "getAllKeys", "count", "openCursor", "openKeyCursor",
];

/** Takes every call of a dead page, and answers none. @type {any} */
const nobody = Object.fromEntries(
  [...METHODS, "objectStore", "commit", "abort", "addEventListener"].map((name) => [name, () => nobody]),
);

class Life {
  /** What was asked for, as "add log". @type {string[]} */
  requests = [];
  isDead = false;
  hasFailed = false;
  /** @type {Set<IDBDatabase>} */
  connections = new Set();
  /** Transactions that will abort, whether or not somebody asks for their commit. */
  doomed = new WeakSet();

  /**
   * @param {string} name
   * @param {number} at
   * @param {string} fault "abort", "die before" or "die behind" request number `at`
   */
  constructor(name, at, fault) {
    this.name = `durably:${name}`;
    this.at = at;
    this.fault = fault;
  }

  /** @param {string} kind @param {IDBTransaction} transaction @param {IDBRequest} request */
  note(kind, transaction, request) {
    this.requests.push(kind);
    if (this.requests.length !== this.at) return;
    this.hasFailed = true;
    if (this.fault === "abort") {
      this.doomed.add(transaction);
      request.addEventListener("success", () => original.abort.call(transaction));
    } else if (this.fault === "die before") {
      original.abort.call(transaction);
      this.die();
    } else {
      // What the page does in the same turn is sent with it.
      queueMicrotask(() => this.die());
    }
  }

  die() {
    this.isDead = true;
    for (const connection of this.connections) connection.close();
  }

  /** Keep the events of a target from a dead page. @param {EventTarget} target @param {string[]} types */
  hush(target, ...types) {
    for (const type of types) {
      target.addEventListener(type, (event) => {
        if (this.isDead) event.stopImmediatePropagation();
      });
    }
  }
}

/** The life that is lived now. @type {Life | null} */
let life = null;
/** @type {WeakMap<IDBDatabase, Life>} */
const lives = new WeakMap();

factory.open = function open(name, version) {
  const request = original.open.call(this, name, version);
  const mine = life;
  if (mine && name === mine.name && version !== undefined) {
    mine.hush(request, "success", "error", "upgradeneeded", "blocked");
    request.addEventListener("success", () => {
      lives.set(request.result, mine);
      mine.connections.add(request.result);
    });
  }
  return request;
};

database.transaction = function transaction(...parameters) {
  const mine = lives.get(this);
  if (mine?.isDead) return nobody;
  const begun = original.transaction.apply(this, parameters);
  mine?.hush(begun, "complete", "abort", "error");
  return begun;
};

transactions.commit = function commit() {
  const mine = lives.get(this.db);
  if (!mine?.isDead && !mine?.doomed.has(this)) original.commit.call(this);
};

for (const method of METHODS) {
  const request = stores[method];
  /** @this {IDBObjectStore} @param {unknown[]} parameters */
  stores[method] = function (...parameters) {
    const mine = lives.get(this.transaction.db);
    if (mine?.isDead) return nobody;
    const made = request.apply(this, parameters);
    mine?.hush(made, "success", "error");
    mine?.note(`${method} ${this.name}`, this.transaction, made);
    return made;
  };
}

/**
 * Begin a life in which request number `at` has a fault; those of other databases are not counted.
 * @param {string} name
 * @param {number} at
 * @param {string} fault
 */
export function begin(name, at, fault) {
  life = new Life(name, at, fault);
  return life;
}

export function end() {
  life = null;
}

/**
 * Copy what is stored of one database to a new one.
 * @param {string} from
 * @param {string} to
 */
export async function copy(from, to) {
  const names = ["log", "chunks", "meta"];
  const source = await opened(original.open.call(indexedDB, `durably:${from}`));
  const reading = source.transaction(names);
  const content = await Promise.all(names.map((name) => {
    const store = reading.objectStore(name);
    return Promise.all([answer(store.getAllKeys()), answer(store.getAll())]);
  }));
  source.close();
  const request = original.open.call(indexedDB, `durably:${to}`, 1);
  request.onupgradeneeded = () => {
    for (const name of names) request.result.createObjectStore(name);
  };
  const target = await opened(request);
  const writing = target.transaction(names, "readwrite");
  names.forEach((name, i) => {
    const [keys, values] = content[i];
    keys.forEach((key, n) => writing.objectStore(name).put(values[n], key));
  });
  await new Promise((resolve, reject) => {
    writing.oncomplete = resolve;
    writing.onabort = () => reject(writing.error);
  });
  target.close();
}

/** @param {IDBOpenDBRequest} request @returns {Promise<IDBDatabase>} */
const opened = (request) => answer(request);

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
