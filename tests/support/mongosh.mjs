// Evaluates what is typed into mongosh, and writes down what would be asked of the database, for Python to ask it.
// In: a JSON list of expressions. Out: for each, what it is asked of (a collection, or null) and the calls behind it.
import vm from 'node:vm'

function noted(text) {
  const asked = { collection: null, calls: [] }
  const chain = (name) =>
    new Proxy(function () {}, {
      get: (_, next) => (typeof next === 'symbol' ? undefined : chain(next)),
      apply: (_, __, args) => {
        asked.calls.push([name, args])
        return chain(null)
      },
    })
  const ofDatabase = new Set(['runCommand', 'serverStatus'])
  const db = new Proxy({}, {
    get: (_, name) => {
      if (!ofDatabase.has(name)) asked.collection = name
      return chain(name)
    },
  })
  vm.runInNewContext(text, { db, Date, ObjectId: (hex) => ({ $oid: hex }) })
  return asked
}

// A Date turns itself into a text before a replacer sees it: what it was is asked of its holder.
function tagged(key, value) {
  return this[key] instanceof Date ? { $date: this[key].getTime() } : value
}

let input = ''
for await (const piece of process.stdin) input += piece
process.stdout.write(JSON.stringify(JSON.parse(input).map(noted), tagged))
