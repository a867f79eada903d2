"use strict";
// The language of `--where` (cnn_sweep/report/leaderboards/filters.py; docs/reports.md): text becomes closures that take
// a row, an object of values by column. A missing value is null, and makes a comparison unknown, which is null, too.
const FUNCTIONS = { abs: 1, like: 2, log10: 1, missing: 1 };
const POSSIBLE = "possible are columns, numbers, text in quotes, lists, + - * / // % **, comparisons, in, not in, and, or, "
  + "not, abs(), like(), log10(), missing()";
const TOKEN = new RegExp(
  [
    String.raw`\s+`,
    String.raw`(?<number>(?:0[xX][0-9a-fA-F]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?))`,
    String.raw`(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')`,
    "`(?<column>[^`]+)`",
    String.raw`(?<word>[\p{L}_][\p{L}\p{N}_]*)`,
    String.raw`(?<sign>\*\*|\/\/|<=|>=|==|!=|[-+*/%<>()[\],=])`,
  ].join("|"),
  "uy",
);
const KEYWORDS = new Set(["and", "or", "not", "in"]);
const ESCAPES = { n: "\n", t: "\t", r: "\r", "\\": "\\", "'": "'", '"': '"' };

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const start = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new Error(`“${text.slice(start, start + 12)}” cannot be read; ${POSSIBLE}`);
    const { number, text: quoted, column, word, sign } = match.groups;
    if (number !== undefined) found.push({ value: Number(number.replaceAll("_", "")) });
    else if (quoted !== undefined) found.push({ value: quoted.slice(1, -1).replace(/\\(.)/gsu, (all, c) => ESCAPES[c] ?? all) });
    else if (column !== undefined) found.push({ column });
    else if (word !== undefined) found.push(KEYWORDS.has(word) ? { sign: word } : { word });
    else if (sign === "=") throw new Error("= is not possible in a condition; write == to compare");
    else if (sign !== undefined) found.push({ sign });
  }
  return found;
}

const isNumber = (value) => typeof value === "number" || typeof value === "boolean";
const quoted = (value) => (typeof value === "string" ? `'${value}'` : String(shown(value)));

function truth(value) {
  if (value === null || typeof value === "boolean") return value;
  throw new Error(`${quoted(value)} is a value where a condition should be, such as ${quoted(value)} > 0`);
}

// Joins conditions: the first that is `decides` decides; one that is unknown makes unknown what the others leave open.
function joined(terms, decides) {
  if (terms.length === 1) return terms[0];
  return (row) => {
    let verdict = !decides;
    for (const term of terms) {
      const found = truth(term(row));
      if (found === decides) return decides;
      if (found === null) verdict = null;
    }
    return verdict;
  };
}

function calculated(left, how, right) {
  return (row) => {
    const [a, b] = [left(row), right(row)];
    if (a === null || b === null) return null;
    for (const value of [a, b]) if (!isNumber(value)) throw new Error(`${quoted(value)} is no number to calculate with`);
    const result = how(Number(a), Number(b));
    if (result === null || Number.isFinite(result)) return result;
    return Number.isFinite(Number(a)) && Number.isFinite(Number(b)) ? null : result;
  };
}

const ARITHMETIC = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => (b === 0 ? null : a / b),
  "//": (a, b) => (b === 0 ? null : Math.floor(a / b)),
  "%": (a, b) => (b === 0 ? null : a - b * Math.floor(a / b)),
  "**": (a, b) => {
    if (Math.abs(a) > 1e6 || Math.abs(b) > 64) throw new Error(`${a} ** ${b} is too large (base up to 1e+06, exponent to 64)`);
    return a ** b; // the root of a negative number is NaN, which `calculated` takes as missing
  },
};

function same(a, b) {
  if (isNumber(a) && isNumber(b)) return Number(a) === Number(b);
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, i) => same(one, b[i]));
  return a === b;
}

// Texts in the order of their characters, as Python has them, and not of their halves.
function ordering(a, b) {
  if (typeof a !== "string") return Number(a) < Number(b) ? -1 : Number(a) > Number(b) ? 1 : Number(a) === Number(b) ? 0 : NaN;
  const [one, other] = [[...a], [...b]];
  const place = one.findIndex((c, i) => c !== other[i]);
  if (place < 0) return one.length - other.length;
  return place < other.length ? one[place].codePointAt(0) - other[place].codePointAt(0) : 1;
}

const ORDERS = { "<": (o) => o < 0, "<=": (o) => o <= 0, ">": (o) => o > 0, ">=": (o) => o >= 0 };

function within(member, group) {
  if (typeof group === "string" && typeof member === "string") return group.includes(member);
  if (!Array.isArray(group)) throw new Error(`${quoted(group)} is no list to look for ${quoted(member)} in`);
  if (group.some((one) => same(one, member))) return true;
  return group.includes(null) ? null : false;
}

function compared(left, sign, right) {
  return (row) => {
    const [a, b] = [left(row), right(row)];
    if (a === null || b === null) return null;
    if (sign === "==") return same(a, b);
    if (sign === "!=") return !same(a, b);
    if (sign === "in") return within(a, b);
    if (sign === "not in") {
      const found = within(a, b);
      return found === null ? null : !found;
    }
    if (!(isNumber(a) && isNumber(b)) && !(typeof a === "string" && typeof b === "string")) {
      throw new Error(`${quoted(a)} ${sign} ${quoted(b)}: only two numbers or two texts have an order`);
    }
    return ORDERS[sign](ordering(a, b));
  };
}

// A pattern of a shell: * is any text, ? any character, [ab] one of these, [!ab] another one.
function pattern(text) {
  const source = text.replace(/\[(!?)(\]?[^\]]*)\]|[\s\S]/gu, (all, not, inside) => {
    if (inside) return `[${not ? "^" : ""}${inside.replace(/[\\\]^[]/g, "\\$&")}]`;
    if (all === "*") return ".*";
    return all === "?" ? "." : all.replace(/[\\^$.|?*+()[\]{}/]/g, "\\$&");
  });
  return new RegExp(`^(?:${source})$`, "su");
}

function like(left, right) {
  return (row) => {
    const [text, wanted] = [left(row), right(row)];
    if (wanted !== null && typeof wanted !== "string") throw new Error(`like() takes a column and a pattern such as 'ad*', not ${quoted(wanted)}`);
    return text === null || wanted === null ? null : pattern(wanted).test(pythonText(text));
  };
}

const pythonText = (value) => (typeof value === "boolean" ? (value ? "True" : "False") : Array.isArray(value)
  ? `[${value.map((one) => (typeof one === "string" ? `'${one}'` : pythonText(one))).join(", ")}]` : String(value));

// Reads a text by Python's precedence: or, and, not, comparisons, + -, * / // %, signs, **.
class Reader {
  constructor(text, columns) {
    this.tokens = tokens(text);
    this.columns = columns;
    this.place = 0;
  }

  next(...signs) {
    const sign = this.tokens[this.place]?.sign;
    if (sign === undefined || !signs.includes(sign)) return null;
    this.place += 1;
    return sign;
  }

  expect(sign) {
    if (!this.next(sign)) throw new Error(`${this.rest()} stands where ${sign} should; ${POSSIBLE}`);
  }

  rest() {
    const token = this.tokens[this.place];
    return token ? `“${token.sign ?? token.word ?? token.column ?? shown(token.value)}”` : "the end";
  }

  whole() {
    const term = this.either();
    if (this.place < this.tokens.length) throw new Error(`${this.rest()} cannot stand there; ${POSSIBLE}`);
    return term;
  }

  either() {
    const terms = [this.both()];
    while (this.next("or")) terms.push(this.both());
    return joined(terms, true);
  }

  both() {
    const terms = [this.negation()];
    while (this.next("and")) terms.push(this.negation());
    return joined(terms, false);
  }

  negation() {
    if (!this.next("not")) return this.comparison();
    const term = this.negation();
    return (row) => {
      const found = truth(term(row));
      return found === null ? null : !found;
    };
  }

  comparison() {
    let left = this.sum();
    const terms = [];
    for (;;) {
      let sign = this.next("==", "!=", "<", "<=", ">", ">=", "in", "not");
      if (!sign) return terms.length ? joined(terms, false) : left;
      if (sign === "not") {
        this.expect("in");
        sign = "not in";
      }
      const right = this.sum();
      terms.push(compared(left, sign, right)); // a < b < c is a < b and b < c
      left = right;
    }
  }

  sum() {
    return this.chain(() => this.product(), "+", "-");
  }

  product() {
    return this.chain(() => this.signed(), "*", "/", "//", "%");
  }

  chain(part, ...signs) {
    let left = part();
    for (let sign = this.next(...signs); sign; sign = this.next(...signs)) left = calculated(left, ARITHMETIC[sign], part());
    return left;
  }

  signed() {
    const sign = this.next("-", "+");
    if (!sign) return this.power();
    return calculated(() => (sign === "-" ? -1 : 1), ARITHMETIC["*"], this.signed());
  }

  power() {
    const base = this.atom();
    return this.next("**") ? calculated(base, ARITHMETIC["**"], this.signed()) : base;
  }

  atom() {
    const token = this.tokens[this.place];
    if (!token) throw new Error(`the condition ends too early; ${POSSIBLE}`);
    this.place += 1;
    if (token.value !== undefined) return () => token.value;
    if (token.column !== undefined) return this.column(token.column);
    if (token.word !== undefined) return this.named(token.word);
    if (token.sign === "(") return this.parenthesis();
    if (token.sign === "[") return this.list("]", []);
    this.place -= 1;
    throw new Error(`${this.rest()} cannot stand there; ${POSSIBLE}`);
  }

  parenthesis() {
    if (this.next(")")) return () => [];
    const first = this.either();
    if (this.next(")")) return first;
    this.expect(",");
    return this.list(")", [first]);
  }

  list(end, terms) {
    while (!this.next(end)) {
      terms.push(this.either());
      if (!this.next(",") && this.tokens[this.place]?.sign !== end) this.expect(end);
    }
    return (row) => terms.map((term) => term(row));
  }

  named(word) {
    if (this.next("(")) return this.call(word);
    if (word === "true" || word === "True") return () => true;
    if (word === "false" || word === "False") return () => false;
    if (["None", "is", "lambda", "if", "else", "for"].includes(word)) throw new Error(`“${word}” is not possible in a condition; ${POSSIBLE}`);
    return this.column(word);
  }

  column(name) {
    if (!this.columns.includes(name)) {
      throw new Error(`unknown column '${name}' (a text stands in quotes); columns: ${this.columns.join(", ")}`);
    }
    return (row) => row[name] ?? null;
  }

  call(name) {
    if (!Object.hasOwn(FUNCTIONS, name)) throw new Error(`unknown function '${name}'; possible are: abs(), like(), log10(), missing()`);
    const terms = [];
    while (!this.next(")")) {
      terms.push(this.either());
      if (!this.next(",") && this.tokens[this.place]?.sign !== ")") this.expect(")");
    }
    if (terms.length !== FUNCTIONS[name]) throw new Error(`${name}() takes ${FUNCTIONS[name]} values, not ${terms.length}`);
    if (name === "missing") return (row) => terms[0](row) === null;
    if (name === "like") return like(...terms);
    const how = name === "abs" ? Math.abs : (value) => (value > 0 ? Math.log10(value) : null);
    return calculated(terms[0], how, () => 0);
  }
}

// Returns a test of rows; what the text is no condition for, or a row has no answer to, is an error with a sentence.
function condition(text, columns) {
  if (text.length > 2000) throw new Error(`a condition can have 2,000 characters, this one has ${text.length.toLocaleString("en")}`);
  const term = new Reader(text, columns).whole();
  return (row) => truth(term(row)) === true;
}
