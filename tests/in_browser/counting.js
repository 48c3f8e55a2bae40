// @ts-check
/** Counts what one database asks of IndexedDB, and the messages by which Pyodide's event loop turns. */

const database = IDBDatabase.prototype;
const transaction = database.transaction;
/** @type {[any, string[]][]} */
const ASKED = [
  [IDBObjectStore.prototype, [
    "add", "put", "delete", "clear", "get", "getKey", "getAll", "getAllKeys", "count", "openCursor",
    "openKeyCursor",
  ]],
  [IDBCursor.prototype, ["advance", "continue", "continuePrimaryKey", "update", "delete"]],
];
/** Where a record says how many pages it holds; see mirror.js. */
const PAGES_AT = 60;

let counted = "";
let requests = 0, transactions = 0, pages = 0, bytes = 0, messages = 0;

database.transaction = function (...parameters) {
  if (this.name === counted) transactions += 1;
  return transaction.apply(this, parameters);
};

for (const [prototype, methods] of ASKED) {
  for (const method of methods) {
    const request = prototype[method];
    /** @this {IDBObjectStore | IDBCursor} @param {unknown[]} parameters */
    prototype[method] = function (...parameters) {
      const store = this instanceof IDBObjectStore ? this
        : this.source instanceof IDBIndex ? this.source.objectStore : this.source;
      if (store.transaction.db.name === counted) note(store.name, parameters[0]);
      return request.apply(this, parameters);
    };
  }
}

const { postMessage } = MessagePort.prototype;
MessagePort.prototype.postMessage = function (/** @type {any[]} */ ...parameters) {
  messages += 1;
  return Reflect.apply(postMessage, this, parameters);
};

/** @param {string} store @param {unknown} value */
function note(store, value) {
  requests += 1;
  if (!(value instanceof ArrayBuffer)) return;
  bytes += value.byteLength;
  if (store === "log") pages += new DataView(value).getUint32(PAGES_AT, true);
}

/**
 * Count what is asked of this database from now on, and of no other.
 * @param {string} name
 */
export function count(name) {
  counted = `durably:${name}`;
}

/** What was counted so far: requests, transactions, pages, and the bytes of records and chunks. */
export function read() {
  return [requests, transactions, pages, bytes];
}

/** How often a message was posted to a port so far: by Pyodide for each turn, and for each call of a
 *  Python function on a stack of its own. */
export function readMessages() {
  return messages;
}
