"use strict";
// The conditions of `--where` (docs/reference/expressions.md), as sweep/expressions/ parses and evaluates them. Text
// becomes functions of a row, an object of values by column. A missing value is null; a comparison with it is unknown: null, too.
const NULL = "null"; // a hyperparameter's value null, as it stands in the page's data
const CONSTANTS = { true: true, True: true, false: false, False: false, null: NULL };
const WORDS = new Set(["and", "or", "not", "in", "if", "else"]);
const KEYWORDS = new Set(("None as assert async await break class continue def del elif except finally for from global import is "
  + "lambda nonlocal pass raise return try while with yield").split(" "));
const INSTEAD = { "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not", "^": "**", "<>": "!=" };
const MAX_DEPTH = 100; // brackets and operators inside each other
const END = "the end";
const LEVELS = ["", "or", "and", "not ", "= == != < <= > >= in not", "+ -", "* / // %", "signs", "**"];
const [CHOICE, OR, , NOT, COMPARISON, SUM, , SIGNED, POWER] = LEVELS.keys();
const LEVEL = Object.fromEntries(LEVELS.flatMap((signs, level) => signs.split(" ").map((sign) => [sign, level])));
const TOKEN = new RegExp(
  [
    String.raw`(?<number>(?:0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?[\d_]+)?)(?![\p{L}\p{N}_]))`,
    String.raw`(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')`,
    "(?<quoted>`[^`]+`)",
    String.raw`\$?(?<word>[\p{L}_][\p{L}\p{N}_]*)(?!["'\p{L}\p{N}_])`,
    String.raw`(?<sign>\*\*|\/\/|<>|[<>=!]=|[-+*/%<>=()[\],.]|&&?|\|\|?|[!^])`,
    "(?<end>$)",
  ].join("|").replace(/^.*$/s, String.raw`(?:\s|#[^\n]*)*(?:$&)`),
  "suy",
);
const ESCAPES = { n: "\n", t: "\t", r: "\r", "\n": "", "\\": "\\", "'": "'", '"': '"' };

// An error with the place that is meant, which the page marks by a caret.
const misread = (message, at) => Object.assign(new Error(message), { at });
const isNumber = (value) => typeof value === "number" || typeof value === "boolean";
const inQuotes = (value) => (typeof value === "string" ? `'${value}'` : String(shown(value)));
const constant = (value) => () => value;
const opposite = (verdict) => (verdict === null ? null : !verdict);

function truth(value) {
  if (value === null || typeof value === "boolean") return value;
  throw new Error(`${inQuotes(value)} is a value where a condition should be; compare it, as in epochs > 5`);
}

// Joins conditions: the first that is `decides` decides; one that is unknown makes unknown what the others leave open.
function joined(terms, decides) {
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

// Calculates with numbers; what has no finite value (a division by zero) is missing.
function calculated(how, terms) {
  return (row) => {
    let values = terms.map((term) => term(row));
    if (how.takesLists && values.length === 1 && Array.isArray(values[0])) [values] = values;
    if (values.some((value) => value === null || value === NULL)) return null;
    for (const value of values) if (!isNumber(value)) throw new Error(`${inQuotes(value)} is not a number`);
    const numbers = values.map(Number);
    const result = how(...numbers);
    return result === null || Number.isFinite(result) || !numbers.every(Number.isFinite) ? result : null;
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
const whole = (how) => (value) => (Number.isFinite(value) ? how(value) : null);
const halfToEven = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

// A function and how many values it takes; none given: any number.
const FUNCTIONS = {
  min: [Object.assign((...values) => Math.min(...values), { takesLists: true })],
  max: [Object.assign((...values) => Math.max(...values), { takesLists: true })],
  abs: [Math.abs, 1],
  round: [(value, digits = 0) => (Number.isFinite(value) ? halfToEven(value * 10 ** digits) / 10 ** digits : null), 1, 2],
  int: [whole(Math.trunc), 1],
  floor: [whole(Math.floor), 1],
  ceil: [whole(Math.ceil), 1],
  sqrt: [Math.sqrt, 1],
  log2: [(value) => (value <= 0 ? null : Math.log2(value)), 1],
  log10: [(value) => (value <= 0 ? null : Math.log10(value)), 1],
  like: [null, 2],
  missing: [null, 1],
};
const NAMED = Object.keys(FUNCTIONS).map((name) => `${name}()`).join(", ");
const POSSIBLE = "possible are columns, numbers, text in quotes, lists, + - * / // % **, comparisons, in, not in, and, or, "
  + `not, if-else, ${NAMED}`;

function same(a, b) {
  if (isNumber(a) && isNumber(b)) return Number(a) === Number(b);
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, i) => same(one, b[i]));
  return a === b;
}

// Below, at or above 0, or NaN. Texts are ordered by their characters, as in Python, and not by halves of them.
function ordering(a, b, sign) {
  const kinds = [isNumber, (value) => typeof value === "string", Array.isArray];
  const kind = kinds.findIndex((is) => is(a) && is(b));
  if (kind < 0) throw new Error(`${inQuotes(a)} ${sign} ${inQuotes(b)}: only two numbers or two texts have an order`);
  if (kind === 0) return Number(a) - Number(b) || (Number(a) === Number(b) ? 0 : Number(a) - Number(b));
  const [one, other] = [[...a], [...b]];
  const place = one.findIndex((c, i) => i >= other.length || !same(c, other[i]));
  if (place < 0 || place >= other.length) return one.length - other.length;
  return kind === 1 ? one[place].codePointAt(0) - other[place].codePointAt(0) : ordering(one[place], other[place], sign);
}

const ORDERS = { "<": (o) => o < 0, "<=": (o) => o <= 0, ">": (o) => o > 0, ">=": (o) => o >= 0 };

function within(member, group) {
  if (typeof group === "string" && typeof member === "string") return group.includes(member);
  if (!Array.isArray(group)) throw new Error(`${inQuotes(group)} is not a list, so it cannot contain ${inQuotes(member)}`);
  if (group.some((one) => same(one, member))) return true;
  return group.includes(null) ? null : false;
}

function compared(left, sign, right) {
  return (row) => {
    const [a, b] = [left(row), right(row)];
    if (a === null || b === null) return null;
    if (sign === "=" || sign === "==") return same(a, b);
    if (sign === "!=") return !same(a, b);
    if (sign === "in") return within(a, b);
    if (sign === "not") return opposite(within(a, b));
    return a === NULL || b === NULL ? null : ORDERS[sign](ordering(a, b, sign));
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

function like(text, wanted) {
  if (wanted !== null && typeof wanted !== "string") throw new Error(`like() takes a column and a pattern such as 'ad*', not ${inQuotes(wanted)}`);
  return text === null || wanted === null ? null : pattern(wanted).test(pythonText(text));
}

const pythonText = (value) => (typeof value === "boolean" ? (value ? "True" : "False") : Array.isArray(value)
  ? `[${value.map((one) => (typeof one === "string" ? `'${one}'` : pythonText(one))).join(", ")}]` : String(value));

function elementAt(group, index) {
  if (group === null || index === null) return null;
  if ((typeof group !== "string" && !Array.isArray(group)) || !(isNumber(index) && Number.isInteger(Number(index)))) {
    throw new Error(`${inQuotes(group)} has no element ${inQuotes(index)}; only lists and texts do, from 0`);
  }
  return [...group].at(Number(index)) ?? null;
}

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  for (;;) {
    const { lastIndex } = TOKEN;
    const match = TOKEN.exec(text);
    if (!match) {
      const place = lastIndex + text.slice(lastIndex).search(/\S/u);
      if ("\"'`".includes(text[place])) throw misread(`the quotation mark at character ${place + 1} has no partner`, place);
      throw misread(`at character ${place + 1}, ${text.slice(place, place + 12).split(/\s/u)[0]} is not possible in a condition; ${POSSIBLE}`, place);
    }
    const [kind, value] = Object.entries(match.groups).find(([, one]) => one !== undefined);
    const start = TOKEN.lastIndex - value.length;
    if (kind === "end") return [...found, { kind: "sign", value: END, start }];
    found.push({ kind: WORDS.has(value) ? "sign" : kind, value, start });
  }
}

// Parses an operand, then the operators after it that bind tightly enough to take it (Pratt's method).
class Parser {
  constructor(text, columns) {
    this.tokens = tokens(text);
    this.columns = columns;
    this.at = 0;
    this.depth = 0;
  }

  get token() {
    return this.tokens[this.at];
  }

  get sign() {
    return this.token.kind === "sign" ? this.token.value : "";
  }

  takes(sign) {
    const taken = this.sign === sign;
    if (taken) this.at += 1;
    return taken;
  }

  expect(sign) {
    if (!this.takes(sign)) throw this.unexpected(sign === END ? "" : `; expected ${sign}`);
  }

  unexpected(hint = "") {
    const { value, start } = this.token;
    if (value === END) return misread(`the condition ends too early${hint}`, start);
    if (KEYWORDS.has(value)) return this.impossible(value, start);
    const word = INSTEAD[value] ?? value.toLowerCase();
    const instead = word !== value && (WORDS.has(word) || ["**", "!="].includes(word)) ? `; write ${word}` : hint;
    return misread(`'${value}' is unexpected at character ${start + 1}${instead}`, start);
  }

  impossible(value, start) {
    return misread(`at character ${start + 1}, \`${value}\` is not possible in a condition; ${POSSIBLE}`, start);
  }

  whole() {
    const term = this.expression();
    if (this.sign === ",") throw misread("join two conditions with `and` or `or`", this.token.start);
    this.expect(END);
    return term;
  }

  // Parses an operand and the operators after it that bind at least as tightly as `level`.
  expression(level = CHOICE) {
    this.depth += 1;
    if (this.depth > MAX_DEPTH) throw new Error("the condition is nested too deeply");
    let left = this.operand(level);
    while (this.takes("[")) {
      const [group, index] = [left, this.expression()];
      left = (row) => elementAt(group(row), index(row));
      this.expect("]");
    }
    for (let longer = left; longer; longer = this.operated(left, level)) left = longer;
    this.depth -= 1;
    return left;
  }

  // Parses one operator and what it does with `left`; null if the next one binds less tightly than `level`.
  operated(left, level) {
    const { sign } = this;
    if (sign === "if" && level === CHOICE) return this.choice(left);
    const own = LEVEL[sign] ?? -1;
    if (own < level || !sign) return null;
    if (own === COMPARISON) return this.comparison(left);
    const terms = [left];
    while (this.takes(sign)) {
      terms.push(this.expression(own === POWER ? SIGNED : own + 1)); // 2 ** 3 ** 2 is 2 ** (3 ** 2)
      if (own >= SUM) return calculated(ARITHMETIC[sign], terms);
    }
    return joined(terms, sign === "or");
  }

  choice(body) {
    this.expect("if");
    const test = this.expression(OR);
    this.expect("else");
    const orelse = this.expression();
    return (row) => {
      const holds = truth(test(row));
      return holds === null ? null : (holds ? body : orelse)(row);
    };
  }

  comparison(first) {
    const terms = [];
    for (let left = first; LEVEL[this.sign] === COMPARISON;) {
      const { sign } = this;
      this.at += 1;
      if (sign === "not") this.expect("in");
      const right = this.expression(SUM);
      terms.push(compared(left, sign, right)); // a < b < c is a < b and b < c
      left = right;
    }
    return terms.length === 1 ? terms[0] : joined(terms, false);
  }

  operand(level) {
    const { kind, value } = this.token;
    this.at += 1;
    if (kind === "number") return constant(Number(value.replaceAll("_", "")));
    if (kind === "text") return this.text(value);
    if (kind === "quoted") return this.column(value.slice(1, -1));
    if (kind === "word") return this.word(value);
    if (value === "-" || value === "+") return calculated(ARITHMETIC["*"], [constant(value === "-" ? -1 : 1), this.expression(SIGNED)]);
    if (value === "not" && level <= NOT) {
      const term = this.expression(NOT);
      return (row) => opposite(truth(term(row)));
    }
    if (value === "[") return this.list("]", []);
    if (value === "(") return this.brackets();
    this.at -= 1;
    throw this.unexpected();
  }

  text(first) {
    let whole = first.slice(1, -1);
    for (; this.token.kind === "text"; this.at += 1) whole += this.token.value.slice(1, -1); // "a" "b" is "ab"
    return constant(whole.replace(/\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|(.))/gsu, (all, two, four, c) => (
      two ?? four ? String.fromCharCode(parseInt(two ?? four, 16)) : ESCAPES[c] ?? all)));
  }

  brackets() {
    if (this.takes(")")) return () => [];
    const first = this.expression();
    return this.takes(")") ? first : this.list(")", [first]);
  }

  list(end, items) {
    const terms = this.items(end, items);
    return (row) => terms.map((term) => term(row));
  }

  // Parses what follows `items` up to a closing bracket: expressions with commas between them.
  items(end, items, name = "") {
    let more = !items.length || this.takes(",");
    while (more && this.sign !== end) {
      if (name && this.token.kind === "word" && this.tokens[this.at + 1].value === "=") {
        throw new Error(`${name}: arguments are given by position; write == to compare`);
      }
      items.push(this.expression());
      more = this.takes(",");
    }
    this.expect(end);
    return items;
  }

  word(word) {
    if (this.takes("(")) return this.call(word);
    if (Object.hasOwn(CONSTANTS, word)) return constant(CONSTANTS[word]);
    if (KEYWORDS.has(word)) throw this.impossible(word, this.tokens[this.at - 1].start);
    return this.column(word);
  }

  column(name) {
    if (!this.columns.includes(name)) {
      throw misread(`unknown column '${name}'; put text in quotes: '${name}'; columns: ${this.columns.join(", ")}`, this.tokens[this.at - 1].start);
    }
    return (row) => row[name] ?? null;
  }

  call(name) {
    if (!Object.hasOwn(FUNCTIONS, name)) throw misread(`unknown function '${name}'; possible are: ${NAMED}`, this.tokens[this.at - 2].start);
    const [how, ...wanted] = FUNCTIONS[name];
    const terms = this.items(")", [], name);
    if (wanted.length && !wanted.includes(terms.length)) {
      throw new Error(`${name}() takes ${wanted.join(" or ")} values, not ${terms.length}`);
    }
    if (name === "missing") return (row) => terms[0](row) === null;
    return name === "like" ? (row) => like(terms[0](row), terms[1](row)) : calculated(how, terms);
  }
}

// Returns a function that tests rows. Throws an error if the text is not a condition or cannot be evaluated for a row.
function condition(text, columns) {
  if (text.length > 2000) throw new Error(`a condition can have 2,000 characters, this one has ${text.length.toLocaleString("en")}`);
  const term = new Parser(text, columns).whole();
  return (row) => truth(term(row)) === true;
}

// ---- conditions as text --------------------------------------------------------------------------------------------

const isNamed = (word) => Object.hasOwn(FUNCTIONS, word) || Object.hasOwn(CONSTANTS, word);
const columnWord = (name) => (
  /^[\p{L}_][\p{L}\p{N}_]*$/u.test(name) && !WORDS.has(name) && !KEYWORDS.has(name) && !isNamed(name) ? name : `\`${name}\``);

// Returns the names of columns in a text.
const columnsIn = (text) => tokens(text).filter(({ kind, value }) => kind === "quoted" || (kind === "word" && !isNamed(value)))
  .map(({ value }) => value.replaceAll("`", ""));

// Splits a condition into parts that all must hold. One with `or` outside of brackets is a single part, in brackets.
function conjuncts(text) {
  const parts = [];
  let [depth, from] = [0, 0];
  for (const { kind, value, start } of tokens(text)) {
    if (kind !== "sign") continue;
    if ("([".includes(value)) depth += 1;
    if (")]".includes(value)) depth -= 1;
    if (depth) continue;
    if (value === "or" || value === "if") return [`(${text})`];
    if (value !== "and" && value !== END) continue;
    parts.push(text.slice(from, start).trim());
    from = start + value.length;
  }
  return parts.filter(Boolean);
}
