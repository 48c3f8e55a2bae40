// The physical limit: a transaction of IndexedDB that adds one record, and nothing around it.

const RECORD_BYTES = 484; // What a checkpoint of a small result adds to the log: three blocks of a page.
const LARGE_BYTES = 100 * 1024;

/** @typedef {(count: number) => Promise<{ times: number[] }>} Writer */

/** @param {{ name?: string }} options of the database */
export async function open({ name = `bare-${Date.now()}` }) {
  /** @type {IDBDatabase} */
  const db = await new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("log");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  let key = 0;

  /** @type {(bytes: number, durability: IDBTransactionDurability) => Writer} */
  const writer = (bytes, durability) => async (count) => {
    const times = [];
    for (let i = 0; i < count; i++) {
      const record = new Uint8Array(bytes).fill(i & 255).buffer;
      const started = performance.now();
      const transaction = db.transaction("log", "readwrite", { durability });
      transaction.objectStore("log").add(record, [1, key++]);
      const complete = new Promise((resolve) => { transaction.oncomplete = resolve; });
      transaction.commit();
      await complete;
      times.push(performance.now() - started);
    }
    return { times };
  };
  return {
    block: writer(RECORD_BYTES, "relaxed"),
    strict: writer(RECORD_BYTES, "strict"),
    large: writer(LARGE_BYTES, "relaxed"),
  };
}
