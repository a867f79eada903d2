"""``search: {method: table}``: configurations from a CSV file, as spreadsheets and R write it."""

from __future__ import annotations

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.search.extension import extension
from cnn_sweep.search.plan import make_plan
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.sweep import Sweep

DIGITS = ImageInfo(image_shape=(8, 8, 1), class_names=tuple("0123456789"))
TEXT = """\
study: table  # its name
data: {source: digits}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3, activation: $activation}
    - dropout: $dropout
    - flatten
    - output
search: {method: table, file: grid.csv}
training: {epochs: 1}
"""
SPACE = """\
space:
  filters: [4, 8]
  dropout: {low: 0.0, high: 0.5, when: {activation: relu}}
  activation: [relu, elu]
"""
PLAIN = "filters,dropout,activation\n4,0.25,relu\n8,,elu\n4,0.5,relu\n"
ROWS = (
    {"filters": 4, "dropout": 0.25, "activation": "relu"},
    {"filters": 8, "activation": "elu"},
    {"filters": 4, "dropout": 0.5, "activation": "relu"},
)


@pytest.fixture
def load(tmp_path):
    """Write a table and read a sweep file that names it."""

    def read(table: str | bytes, text: str = TEXT, **more) -> Sweep:
        (tmp_path / "grid.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
        return Sweep.load(tmp_path / "my.yaml", **more)

    return read


@pytest.mark.parametrize(
    "table",
    [
        PLAIN,
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";").replace("0.", "0,").replace("\n", "\r\n"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        '"","filters","dropout","activation"\n"1",4,0.25,"relu"\n"4",8,NA,"elu"\n"7",4,0.5,"relu"\n',
        '"filters" "dropout"'.replace(" ", "\t")
        + '\t"activation"\n"1"\t4\t0.25\t"relu"\n"4"\t8\tNA\t"elu"\n"7"\t4\t0.5\t"relu"\n',
        PLAIN.replace("\n", "\n\n") + ",,\n",
        PLAIN.encode("utf-16"),
    ],
    ids=["commas", "tabs", "decimal commas", "Excel's hint", "write.csv", "write.table", "empty rows", "UTF-16"],
)
def test_tables_of_all_programs_give_the_same_configurations(load, table):
    """Numbers become numbers, empty cells inactive hyperparameters; names of rows are dropped; so is the order kept."""
    sweep = load(table)
    assert sweep.grid.rows == ROWS
    assert [trial.params for trial in make_plan([sweep], DIGITS).trials] == list(ROWS)
    assert sweep.digest == load(PLAIN).digest
    assert Sweep.parse(sweep.text).digest == sweep.digest


def test_the_space_types_the_cells(load):
    """With a space, values are its values, and those of inactive hyperparameters are dropped, as in a grid."""
    sweep = load(PLAIN.replace("8,,elu", "8,0.1,elu") + "8,0.2,elu\n", TEXT + SPACE)
    assert sweep.grid.rows == ROWS
    assert sweep.grid.duplicates == 1
    lists = (
        TEXT.replace("kernel_size: 3", "kernel_size: $kernel")
        + SPACE
        + "  kernel: [[3, 3], 5]\n  x: [true, null, 'NA']\n"
    )
    table = 'filters,dropout,activation,kernel,x\n4,0,relu,"[3, 3]",TRUE\n4,0,relu,5,null\n4,0,relu,5,NA\n'
    rows = load(table, lists.replace("epochs: 1", "epochs: 2 if $x == true else 1")).grid.rows
    assert [(row["kernel"], row["x"]) for row in rows] == [([3, 3], True), (5, None), (5, "NA")]


@pytest.mark.parametrize(
    ("table", "more", "messages"),
    [
        (PLAIN + "16,0.1,relu\n", SPACE, ["grid.csv:5: filters: '16' is not in the space of 'filters': 4, 8"]),
        (PLAIN + "4,0.25,relu\n", "", ["grid.csv:5: row: the same configuration as line 2; remove one of them"]),
        (PLAIN.replace("dropout", "rate"), SPACE, ["unknown parameter 'rate'", "the table has no column 'dropout'"]),
        (PLAIN.replace("dropout", "rate"), "", ["my.yaml:6: model.layers[1].dropout: unknown parameter '$dropout'"]),
        (PLAIN.replace("filters", "the filters"), "", ["grid.csv:1: the filters: 'the filters' cannot name a hyper"]),
        ("filters,id\n4,1\n8,2\n", "", ["grid.csv:1: id: nothing uses the parameter 'id'"]),
        (PLAIN + "4\n", "", ["grid.csv: line 5: 1 value, but there are 3 columns: filters, dropout, activation"]),
        ("filters,filters\n4,1\n", "", ["grid.csv:1: filters: 2 columns are called 'filters'"]),
        (",filters\n4,1\n4,2\n", "", ["grid.csv:1: header: a column has no name"]),
        ("filters,dropout,activation\n", "", ["my.yaml:9: search.file: ", "the table has no rows"]),
        ("", "", ["the table is empty"]),
        ('filters\n"4\n', "", ["line 2: unexpected end of data"]),
        (PLAIN.replace("8,", "0,"), "", ["my.yaml:5: model.layers[0].conv2d.filters: must be at least 1, not 0"]),
        (PLAIN, "constraints: [filters > 9]\n", ["my.yaml:11: constraints[0]: none of the 3 rows satisfies"]),
        (b"PK\x03\x04", "", ["this is a spreadsheet, not text"]),
        (PLAIN.replace("8,", "0,"), "", ["must be at least 1, not 0 (from $filters, ", "/grid.csv:3)"]),
        (PLAIN.replace("8,", "x,"), "", ["grid.csv:2; the column 'filters' is text because of 'x' in line 3)"]),
        (PLAIN.replace("8,", '"1,000",'), "", ["grid.csv: line 3: filters: '1,000' may mean 1000 or 1; write one"]),
        ("filters;dropout;activation\n1.000;0,5;elu\n", "", ["line 2: filters: '1.000' may mean 1000 or 1;"]),
        ("filters;dropout;activation\n1.000,5;0,5;elu\n2.000,5;0;elu\n", "", ["; write 1000,5 (and 1 more such cell)"]),
        ("filters\tdropout\tactivation\n4\t0.5\telu\n12 000\t0\telu\n", "", ["line 3: filters: '12 000' has a mark"]),
        (PLAIN.replace("8,", "#REF!,"), "", ["line 3: filters: '#REF!' is the error of a formula"]),
    ],
)
def test_mistakes_name_the_file_and_the_row(load, table, more, messages):
    """Whoever wrote the table finds the cell."""
    with pytest.raises(SweepFileError) as caught:
        load(table, TEXT + more)
    for message in messages:
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("yes", "no"), [("WAHR", "FALSCH"), ("VRAI", "FAUX"), ("VERDADERO", "FALSO"), ("WAAR", "ONWAAR"), ("True", "False")]
)
def test_true_and_false_are_read_in_the_language_of_the_spreadsheet(load, yes, no):
    """With and without a space, the words become booleans."""
    text = TEXT.replace("activation: $activation", "kernel_size: 3 if $big else 1").replace(" kernel_size: 3,", "")
    table = f"filters;dropout;big\n4;0,25;{yes}\n8;#NV;{no}\n"
    space = "space: {filters: [4, 8], dropout: [0.25], big: [true, false]}\n"
    for more in ("", space):
        assert [row["big"] for row in load(table, text + more).grid.rows] == [True, False]


def test_a_point_between_thousands_is_no_decimal_point_elsewhere(load):
    """Without decimal commas, 1.125 is a number as R and pandas write it; text with dots stays text."""
    table = "filters,dropout,activation\n4,0.125,relu\n8,0.500,relu\n"
    assert [row["dropout"] for row in load(table).grid.rows] == [0.125, 0.5]
    commas = load("filters;dropout;activation\n4;0,125;relu\n8;0,500;relu\n")
    assert [row["dropout"] for row in commas.grid.rows] == [0.125, 0.5]


def test_a_column_without_values_is_inactive_in_all_rows(load):
    """As after a filter in R: the network goes without it, one that nothing uses does no harm, and notes say so."""
    sweep = load("filters,dropout,activation,other\n4,NA,relu,NA\n8,NA,elu,NA\n")
    assert sweep.grid.rows == ({"filters": 4, "activation": "relu"}, {"filters": 8, "activation": "elu"})
    assert [type(layer).__name__ for layer in sweep.resolve(sweep.grid.rows[0]).layers] == [
        "Conv2D",
        "Flatten",
        "Output",
    ]
    assert sweep.notes == (
        "the table's column 'dropout' has no values, so 'dropout' is inactive in all rows",
        "the table's column 'other' has no values, so 'other' is inactive in all rows",
    )
    assert Sweep.parse(sweep.text).digest == sweep.digest


def test_many_mistakes_are_counted(load):
    """A wrong column does not fill the screen."""
    rows = "".join(f"{number},0.1,relu\n" for number in range(10, 60))
    with pytest.raises(SweepFileError, match="and 30 more mistakes in the table") as caught:
        load(PLAIN + rows, TEXT + SPACE)
    assert len(caught.value.problems) == 21


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{method: table}", "the method 'table' needs a CSV file"),
        ("{method: table, file: none.csv}", "none.csv: No such file or directory"),
        ("{method: table, file: grid.csv, fixed: {filters: 4}}", "search.fixed: has no effect with the method 'table'"),
        ("{method: grid, file: grid.csv}", "search.file: belongs to the method 'table', not 'grid'"),
    ],
)
def test_a_table_and_its_method_belong_together(load, search, message):
    """A key without effect is a mistake."""
    with pytest.raises(SweepFileError) as caught:
        load(PLAIN, TEXT.replace("{method: table, file: grid.csv}", search))
    assert message in str(caught.value)


def test_a_study_continues_without_the_file(load, tmp_path):
    """The study keeps the rows, and with them its digest."""
    sweep = load(PLAIN)
    results = tmp_path / "results"
    StudyFolder.open_or_create(sweep, results)
    (tmp_path / "grid.csv").unlink()
    study = StudyFolder.open(results, "table")
    assert study.sweep.digest == sweep.digest
    assert "study: table  # its name" in study.sweep.text
    assert "  rows: |\n    filters,dropout,activation\n    4,0.25,relu\n" in study.sweep.text


def test_more_rows_extend_a_study_anywhere_in_the_table(load, tmp_path):
    """New rows get the next numbers; a row that is gone, or has another value, is refused."""
    old = load(PLAIN)
    results = tmp_path / "results"
    StudyFolder.open_or_create(old, results)
    more = load(PLAIN.replace("4,0.25", "8,0.75,relu\n4,0.25"))
    study = StudyFolder.open_or_create(more, results, extend=True)
    assert [trial.params for trial in study.plan.trials] == [
        *ROWS,
        {"filters": 8, "dropout": 0.75, "activation": "relu"},
    ]
    fewer = load(PLAIN.replace("4,0.5,relu\n", "4,0.75,relu\n"))
    assert any("search.file: the row {'filters': 4, 'dropout': 0.5" in reason for reason in extension(old, fewer) or [])


def test_trials_limits_the_rows_and_repeats_repeat_them(load):
    """As with a grid: the first rows, and each with several seeds."""
    plan = make_plan([load(PLAIN, changes={"search.trials": 2, "search.repeats": 2})], DIGITS)
    assert [(trial.params, trial.repeat) for trial in plan.trials] == [
        (ROWS[0], 0),
        (ROWS[1], 0),
        (ROWS[0], 1),
        (ROWS[1], 1),
    ]
