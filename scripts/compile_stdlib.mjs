// node scripts/compile_stdlib.mjs PYODIDE_FOLDER OUT.zip
//
// Rewrites Pyodide's python_stdlib.zip with byte code instead of sources, which halves the time a
// page needs to start: as published, every start compiles the standard library anew. Pyodide
// itself does it, because byte code has to come from the very Python that will read it.

import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, target] = process.argv.slice(2).map((path) => resolve(path));
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const pyodide = await loadPyodide();
pyodide.FS.writeFile("/tmp/sources.zip", readFileSync(`${folder}/python_stdlib.zip`));

pyodide.runPython(`
import importlib.util, marshal, zipfile

UNCHECKED_HASH = (1).to_bytes(4, "little") + bytes(8)  # flags, then a hash that is never looked at

with (
    zipfile.ZipFile("/tmp/sources.zip") as sources,
    zipfile.ZipFile("/tmp/compiled.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=6) as compiled,
):
    for entry in sources.infolist():
        content = sources.read(entry)
        if entry.filename.endswith(".py"):
            try:
                code = compile(content, entry.filename, "exec", dont_inherit=True)
            except SyntaxError:  # deliberately broken files of the test suite stay as they are
                pass
            else:
                content = importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + marshal.dumps(code)
                entry.filename += "c"
        compiled.writestr(entry.filename, content)
`);
writeFileSync(target, pyodide.FS.readFile("/tmp/compiled.zip"));
