# Functions for R: write a grid, run or submit a sweep, read leaderboards and learning curves. `cnn-sweep r` prints this
# file, and docs/how-to/from-r.md shows how it is used.
#
#   source("cnn_sweep.R")
#   cs_grid(expand.grid(filters = c(8, 16), dropout = c(0, 0.25)), "grid.csv")
#   cs_run("sweep.yaml")
#   cs_leaderboard("digits")
#
# Reading needs the packages DBI and RSQLite; everything else is base R (4.0.1 or newer). Functions that run commands
# need `cnn-sweep` on the PATH, or options(cnn_sweep.command = "/path/to/.venv/bin/cnn-sweep"). Results are in the
# folder `results`, unless the argument `results` or the environment variable CNN_SWEEP_RESULTS names another one.
# Failures are R errors of the class "cnn_sweep_error".

# ---- Reading results ------------------------------------------------------------------------------------------------

#' All studies in a results folder
#'
#' @param results Folder of the studies and of the store.
#' @param merge Whether to bring the store up to date first, with `cnn-sweep store merge`. Without that command, or
#'   without permission to write, results are as of the last merge, and a message says so.
#' @return A data frame with a row per study: the number of trials that are planned and in each state, the best complete
#'   trial and its value, the objective, the search method and when the study was created.
cs_studies <- function(results = .cs_results(), merge = TRUE) {
  count <- "(SELECT count(*) FROM trials AS t WHERE t.study = s.study AND t.attempts > 0%s)"
  states <- c("complete", "running", "paused", "interrupted", "pruned", "failed")
  columns <- rbind(
    .cs_columns("study", "text", "s.study"),
    .cs_columns("planned", "whole", "s.trials"),
    .cs_columns(states, "whole", sprintf(count, sprintf(" AND t.state = '%s'", states))),
    .cs_columns("waiting", "whole", sprintf("max(s.trials - %s, 0)", sprintf(count, ""))),
    .cs_columns(c("best_trial", "best_value"), c("whole", "number"), c("b.trial", "b.value")),
    .cs_columns(c("metric", "direction", "method"), "text"),
    .cs_columns("created", "time")
  )
  from <- "
    FROM studies AS s LEFT JOIN (
      SELECT t.study, t.trial, t.value, row_number() OVER (
        PARTITION BY t.study ORDER BY CASE o.direction WHEN 'maximize' THEN -t.value ELSE t.value END, t.trial) AS place
      FROM trials AS t JOIN studies AS o ON o.study = t.study WHERE t.state = 'complete' AND t.value IS NOT NULL
    ) AS b ON b.study = s.study AND b.place = 1 ORDER BY s.study"
  .cs_read(results, merge, function(con) .cs_select(con, columns, from))
}

#' Trials of a study, the best one first
#'
#' @param study Name of the study.
#' @param per "trial", or "configuration" for one row per configuration with the mean over its repeats, its standard
#'   deviation and its interval, as `cnn-sweep leaderboard` shows them.
#' @param results,merge As in `cs_studies()`.
#' @return A data frame with a row per trial that has begun: rank, trial, state, value (of the objective), metrics at
#'   the best epoch, numbers that describe the learning curve, hyperparameters and, after `cnn-sweep finalize`, scores
#'   on the test set. NA is an inactive hyperparameter, or a metric that was not reported or was not a number. If there
#'   are several objectives, the first one ranks; `cs_command("leaderboard", study)` shows the Pareto front.
cs_leaderboard <- function(study, per = c("trial", "configuration"), results = .cs_results(), merge = TRUE) {
  if (match.arg(per) == "trial") {
    return(.cs_read(results, merge, function(con) .cs_trial_table(con, study)))
  }
  words <- list("leaderboard", study, per = "configuration", format = "csv", results = path.expand(results))
  lines <- do.call(cs_command, c(words, show = FALSE))
  board <- utils::read.csv(text = lines, check.names = FALSE, na.strings = "", stringsAsFactors = FALSE)
  board[] <- lapply(board, function(cells) if (all(cells %in% c("True", "False", NA))) as.logical(cells) else cells)
  board
}

#' Trials of a study by their numbers, with everything that is known about each
#'
#' @param study,results,merge As in `cs_leaderboard()`.
#' @return The columns of `cs_leaderboard()`, and configuration, repeat, seed, attempts, started and ended (POSIXct),
#'   and the cause and message of a failure.
cs_trials <- function(study, results = .cs_results(), merge = TRUE) {
  more <- rbind(
    .cs_columns("configuration", "text", "t.configuration"),
    .cs_columns(c("repeat", "seed", "attempts"), "whole", c('t."repeat"', "t.seed", "t.attempts")),
    .cs_columns(c("started", "ended"), "time", c("t.started", "t.ended")),
    .cs_columns(c("cause", "message"), "text", c("t.cause", "t.message"))
  )
  trials <- .cs_read(results, merge, function(con) .cs_trial_table(con, study, more))
  trials <- trials[order(trials$trial), , drop = FALSE]
  rownames(trials) <- NULL
  trials
}

#' Learning curves: the epochs of a study
#'
#' @param study,results,merge As in `cs_leaderboard()`.
#' @param trial Numbers of trials; NULL for all.
#' @return A data frame with a row per epoch that counts: trial, attempt, epoch, seconds, value (of the objective) and
#'   all metrics. `merge(cs_epochs(s), cs_trials(s)[c("trial", "optimizer")], by = "trial")` adds a hyperparameter.
cs_epochs <- function(study, trial = NULL, results = .cs_results(), merge = TRUE) {
  .cs_read(results, merge, function(con) {
    .cs_study(con, study)
    .cs_check_begun(con, study, trial)
    view <- .cs_view(con, "epochs", study)
    own <- c("trial", "attempt", "epoch", "seconds", "value")
    columns <- rbind(
      .cs_columns(own, c("whole", "whole", "whole", "number", "number")),
      .cs_metric_columns(setdiff(.cs_names(con, view), c(own, "counted")))
    )
    only <- if (is.null(trial)) "" else paste0(" AND trial IN (", paste(as.integer(trial), collapse = ", "), ")")
    .cs_select(con, columns, paste0("FROM ", .cs_quote(view), " WHERE counted = 1", only))
  })
}

#' Answer of the store to one SQL statement, which can only read
#'
#' @param query A SELECT; docs/reference/storage.md describes the tables, and the views `leaderboard_STUDY` and
#'   `epochs_STUDY`.
#' @param params Values for the question marks in the statement, as a list.
#' @param results,merge As in `cs_studies()`.
#' @return A data frame. Times are seconds since 1970: `.POSIXct(x)` converts them.
cs_sql <- function(query, params = NULL, results = .cs_results(), merge = TRUE) {
  .cs_read(results, merge, function(con) {
    tryCatch(DBI::dbGetQuery(con, query, params = params), error = function(error) {
      .cs_stop(conditionMessage(error), "; tables and views: ", paste(DBI::dbListTables(con), collapse = ", "))
    })
  })
}

# ---- Writing a grid -------------------------------------------------------------------------------------------------

#' Write configurations for `search: {method: table, file: grid.csv}`
#'
#' @param grid A data frame, as from `expand.grid()`: a column per hyperparameter, a row per configuration. NA makes a
#'   hyperparameter inactive in its row. Factors are written as text, numbers with all their digits and with a decimal
#'   point in any locale. A cell of a list column, such as `I(list(c(3, 3), c(5, 5)))`, is a list of values.
#' @param file The CSV file to write (UTF-8); an existing one is replaced.
#' @return The file's name, invisibly.
cs_grid <- function(grid, file) {
  .cs_check_grid(grid)
  cells <- lapply(names(grid), function(name) .cs_cells(grid[[name]], name))
  lines <- c(paste(.cs_csv(names(grid)), collapse = ","), do.call(paste, c(lapply(cells, .cs_csv), sep = ",")))
  file <- path.expand(file)
  if (!dir.exists(dirname(file))) {
    .cs_stop(file, ": the folder ", dirname(file), " does not exist")
  }
  unfinished <- tempfile(".grid-", dirname(file))
  on.exit(unlink(unfinished))
  stream <- file(unfinished, "wb")
  tryCatch(writeLines(enc2utf8(lines), stream, useBytes = TRUE), finally = close(stream))
  if (!file.rename(unfinished, file)) {
    .cs_stop(file, ": cannot be written")
  }
  counted <- if (nrow(grid) == 1) "1 configuration of " else paste(nrow(grid), "configurations of ")
  message(file, ": ", counted, paste(names(grid), collapse = ", "))
  invisible(file)
}

.cs_check_grid <- function(grid) {
  if (!is.data.frame(grid) || !nrow(grid) || !ncol(grid)) {
    .cs_stop("a grid must be a data frame with a column per hyperparameter and a row per configuration")
  }
  if (any(is.na(names(grid)) | !nzchar(names(grid)))) {
    .cs_stop("grid: column ", which(is.na(names(grid)) | !nzchar(names(grid)))[[1]], " has no name")
  }
  if (anyDuplicated(names(grid))) {
    .cs_stop("grid: there are two columns ", names(grid)[[anyDuplicated(names(grid))]])
  }
  if (anyDuplicated(as.data.frame(grid))) {
    rows <- which(duplicated(as.data.frame(grid)))
    .cs_stop("grid: row ", rows[[1]], " equals an earlier row (", length(rows), " such rows); use unique(grid)")
  }
}

# The cells of a column as text; "" for NA.
.cs_cells <- function(values, name) {
  if (is.list(values)) {
    listed <- vapply(values, function(cell) paste(.cs_cells(cell, name), collapse = ", "), "")
    return(ifelse(lengths(values) == 1, listed, paste0("[", listed, "]")))
  }
  if (is.factor(values)) {
    values <- as.character(values)
  }
  if (!is.object(values) && is.character(values)) {
    if (any(!nzchar(values) & !is.na(values))) {
      .cs_stop("grid: column ", name, ", row ", which(values == "")[[1]], ": the text is empty; write NA if inactive")
    }
    return(ifelse(is.na(values), "", values))
  }
  if (is.object(values) && !inherits(values, "integer64") || !is.numeric(values) && !is.logical(values)) {
    .cs_stop("grid: column ", name, " is of the class ", class(values)[[1]], ", not numbers, text, factor or logical")
  }
  if (is.logical(values)) {
    return(ifelse(is.na(values), "", ifelse(values, "true", "false")))
  }
  infinite <- which(is.nan(values) | is.infinite(values))
  if (length(infinite)) {
    .cs_stop("grid: column ", name, ", row ", infinite[[1]], ": ", values[[infinite[[1]]]], " is not a finite number")
  }
  cells <- rep("", length(values))
  cells[!is.na(values)] <- .cs_number(values[!is.na(values)])
  cells
}

# Numbers as text: the fewest digits that give the same number again, and a point in any locale.
.cs_number <- function(values) {
  text <- sprintf("%.15g", values)
  for (digits in 16:17) {
    differs <- which(as.numeric(sub(",", ".", text, fixed = TRUE)) != values)
    text[differs] <- sprintf(paste0("%.", digits, "g"), values[differs])
  }
  sub(",", ".", text, fixed = TRUE)
}

.cs_csv <- function(cells) {
  quoted <- grepl("[\",;\t\r\n]|^ | $", cells)
  ifelse(quoted, paste0("\"", gsub("\"", "\"\"", cells, fixed = TRUE), "\""), cells)
}

# ---- Running commands -----------------------------------------------------------------------------------------------

#' Run any command of cnn-sweep: `cs_command("finalize", "digits", yes = TRUE)`
#'
#' @param ... The command's words in order. A named argument is an option: `workers = 2` is `--workers 2`,
#'   `dry_run = TRUE` is `--dry-run`, and a vector repeats the option. Options that are NULL or FALSE are left out.
#' @param show Whether to print what the command prints.
#' @param live Whether to print it line by line, for commands that take long.
#' @return The lines that the command printed, invisibly. An error of the command is an R error with its message. If it
#'   ended and something failed, such as some of the trials (exit code 1), there is a warning.
cs_command <- function(..., show = TRUE, live = FALSE) {
  program <- .cs_program()
  if (is.null(program)) {
    .cs_stop(
      "the command cnn-sweep was not found; start R where it is on the PATH (activate its environment first), or set ",
      "options(cnn_sweep.command = \"/path/to/.venv/bin/cnn-sweep\")"
    )
  }
  errors <- tempfile("cnn-sweep-")
  on.exit(unlink(errors))
  words <- paste(shQuote(c(program, .cs_words(...))), collapse = " ")
  done <- .cs_pipe(paste(.cs_clean_library_path(), words, if (live) "2>&1" else paste("2>", shQuote(errors))), live)
  said <- if (live) done$lines else readLines(errors, warn = FALSE)
  if (done$code > 1) {
    .cs_stop(.cs_reason(said, done$code), exit_code = done$code)
  }
  if (show && !live) {
    cat(done$lines, sep = "\n")
  }
  if (done$code == 1) {
    warning(if (live) "some trials failed; see above" else .cs_reason(said, 1), call. = FALSE)
  } else if (!live && length(said)) {
    message(paste(said, collapse = "\n"))
  }
  invisible(done$lines)
}

#' Show which trials a sweep would run
#'
#' @param sweep The sweep file.
#' @param ... Options of `cnn-sweep plan`.
cs_plan <- function(sweep, ...) cs_command("plan", path.expand(sweep), ...)

#' Run a sweep on this machine, and wait for its end
#'
#' Interrupting it is safe: the same call continues the study.
#'
#' @param sweep The sweep file.
#' @param ... Options of `cnn-sweep run`, such as `workers = 2` or `extend = TRUE`.
#' @param results Folder of the studies and of the store.
cs_run <- function(sweep, ..., results = .cs_results()) {
  cs_command("run", path.expand(sweep), ..., results = path.expand(results), live = TRUE)
}

#' Submit a sweep to Slurm, and return at once
#'
#' @param sweep The sweep file.
#' @param profile The settings of the cluster, such as "slurm/cpu.toml".
#' @param ... Options of `cnn-sweep submit`, such as `dry_run = TRUE`.
#' @param results As in `cs_run()`.
cs_submit <- function(sweep, profile, ..., results = .cs_results()) {
  cs_command("submit", path.expand(sweep), profile = path.expand(profile), ..., results = path.expand(results))
}

#' Print the progress of one study or of all
#'
#' @param study Name of the study; NULL for all.
#' @param results As in `cs_run()`.
cs_status <- function(study = NULL, results = .cs_results()) {
  cs_command("status", study, results = path.expand(results))
}

#' Write the report on a study as one HTML page: `browseURL(cs_report("digits"))`
#'
#' @param study Name of the study.
#' @param output The file to write.
#' @param ... Options of `cnn-sweep report`.
#' @param results As in `cs_run()`.
#' @return The file's name, invisibly.
cs_report <- function(study, output = paste0(study, ".html"), ..., results = .cs_results()) {
  cs_command("report", study, output = path.expand(output), ..., results = path.expand(results))
  invisible(output)
}

# ---- Internal -------------------------------------------------------------------------------------------------------

.cs_results <- function() Sys.getenv("CNN_SWEEP_RESULTS", "results")

.cs_stop <- function(..., exit_code = NA_integer_) {
  stop(errorCondition(paste0(...), class = "cnn_sweep_error", call = NULL, exit_code = exit_code))
}

# The command: as set, on the PATH, or where `make` and most tutorials install it. NULL if there is none.
.cs_program <- function() {
  set <- getOption("cnn_sweep.command")
  if (!is.null(set)) {
    if (!file.exists(set)) {
      .cs_stop("option cnn_sweep.command: there is no file ", set)
    }
    return(if (grepl("^[/~]", set)) path.expand(set) else file.path(getwd(), set))
  }
  found <- c(unname(Sys.which("cnn-sweep")), file.path(getwd(), ".venv/bin/cnn-sweep"))
  found <- found[nzchar(found) & file.exists(found)]
  if (length(found)) found[[1]] else NULL
}

.cs_words <- function(...) {
  given <- list(...)
  named <- if (is.null(names(given))) rep("", length(given)) else names(given)
  words <- Map(function(value, name) {
    value <- if (is.numeric(value)) .cs_number(value) else value
    option <- paste0("--", gsub("_", "-", name, fixed = TRUE))
    if (!nzchar(name)) {
      as.character(value)
    } else if (is.logical(value)) {
      if (isTRUE(value)) option else character()
    } else {
      as.vector(rbind(rep(option, length(value)), as.character(value)))
    }
  }, given, named)
  # Arguments come first, so that none of them is taken for an option.
  unlist(c(words[!nzchar(named)], words[nzchar(named)]), use.names = FALSE)
}

# R puts its own folders in front of LD_LIBRARY_PATH; Python, and the jobs that it submits, must not load from there.
.cs_clean_library_path <- function() {
  now <- Sys.getenv("LD_LIBRARY_PATH")
  rules <- file.path(R.home("etc"), "ldpaths")
  if (!nzchar(now) || !file.exists(rules)) {
    return("")
  }
  # R's variables are only set in the shell that starts it, so its own script says again what it adds.
  script <- paste(". ", shQuote(rules), "; printf %s \"$LD_LIBRARY_PATH\"")
  added <- system2("env", c("-u", "LD_LIBRARY_PATH", "sh", "-c", shQuote(script)), stdout = TRUE, stderr = FALSE)
  if (length(added) != 1 || !startsWith(now, added)) {
    return("")
  }
  before <- sub("^:", "", substring(now, nchar(added) + 1))
  paste("env", if (nzchar(before)) shQuote(paste0("LD_LIBRARY_PATH=", before)) else "-u LD_LIBRARY_PATH")
}

.cs_pipe <- function(command, live) {
  stream <- pipe(command, "r")
  code <- NULL
  on.exit(if (is.null(code)) close(stream))
  lines <- character()
  while (length(line <- readLines(stream, 1, warn = FALSE))) {
    lines[[length(lines) + 1]] <- line
    if (live) {
      cat(line, "\n", sep = "")
      utils::flush.console()
    }
  }
  code <- close(stream)
  code <- if (is.null(code)) 0L else as.integer(code)
  list(lines = lines, code = if (code > 255L) code %/% 256L else code) # R passes on the status of wait(2)
}

# What a command that failed said, without its name.
.cs_reason <- function(lines, code) {
  if (code == 130) {
    return("interrupted; the same call continues")
  }
  begin <- which(startsWith(lines, "cnn-sweep: "))
  text <- paste(if (length(begin)) lines[max(begin):length(lines)] else utils::tail(lines, 20), collapse = "\n")
  if (nzchar(text)) sub("cnn-sweep: ", "", text, fixed = TRUE) else paste("cnn-sweep ended with exit code", code)
}

.cs_merge <- function(results) {
  if (is.null(.cs_program())) {
    message("cnn-sweep is not on the PATH, so results are as of the last merge; merge = FALSE omits this message")
    return(invisible())
  }
  tryCatch(cs_command("store", "merge", results = results, show = FALSE), cnn_sweep_error = function(error) {
    warning("results are as of the last merge: ", conditionMessage(error), call. = FALSE)
  })
}

# Call `read` with a connection to the store, on which all queries see the same state.
.cs_read <- function(results, merge, read) {
  missing <- Filter(function(name) !requireNamespace(name, quietly = TRUE), c("DBI", "RSQLite"))
  if (length(missing)) {
    .cs_stop("install.packages(", paste(deparse(missing), collapse = ""), ") first, to read the store")
  }
  results <- path.expand(results)
  if (!dir.exists(results)) {
    .cs_stop("there is no folder ", results, " in ", getwd(), "; results = \"...\" or CNN_SWEEP_RESULTS names another")
  }
  if (merge) {
    .cs_merge(results)
  }
  file <- .cs_store_file(results)
  copied <- dirname(file) == tempdir()
  on.exit(if (copied) unlink(file))
  con <- .cs_connect(file)
  on.exit(DBI::dbDisconnect(con), add = TRUE, after = FALSE)
  tryCatch(
    {
      RSQLite::sqliteSetBusyHandler(con, 30000L) # milliseconds; a merge takes less
      DBI::dbExecute(con, "PRAGMA query_only = ON")
      DBI::dbBegin(con)
      read(con)
    },
    error = function(error) {
      if (inherits(error, "cnn_sweep_error")) {
        stop(error)
      }
      .cs_stop(
        file.path(results, "sweeps.db"), ": cannot be read: ", conditionMessage(error),
        "; `cnn-sweep store rebuild` rebuilds it"
      )
    }
  )
}

.cs_connect <- function(file) {
  tryCatch(
    DBI::dbConnect(RSQLite::SQLite(), file, flags = RSQLite::SQLITE_RO, bigint = "numeric", synchronous = NULL),
    error = function(error) {
      # RSQLite converts names to UTF-8, which is another file in another locale.
      path <- suppressWarnings(normalizePath(file, mustWork = FALSE))
      foreign <- grepl("[^ -~]", path, useBytes = TRUE) && !l10n_info()[["UTF-8"]]
      cure <- if (foreign) "; its path is not ASCII, so start R in a UTF-8 locale, such as LC_ALL=C.UTF-8"
      .cs_stop(file, ": cannot be opened: ", conditionMessage(error), cure)
    }
  )
}

# Where file locking is unreliable, each version of the store is a file of its own that never changes: the newest one is
# copied. Elsewhere the folder of versions does not exist, and the store is read in place.
.cs_store_file <- function(results) {
  versions <- list.files(file.path(results, ".sweeps"), "^[0-9]{10}-[0-9]{15}-[0-9a-f]{40}\\.db$", full.names = TRUE)
  copy <- tempfile("sweeps-", fileext = ".db")
  for (version in sort(versions, decreasing = TRUE, method = "radix")) {
    if (suppressWarnings(file.copy(version, copy, overwrite = TRUE))) {
      return(copy)
    }
  }
  file <- file.path(results, "sweeps.db")
  if (!file.exists(file)) {
    .cs_stop(file, ": there is no store yet; `cnn-sweep store merge` creates it once a study has begun")
  }
  file
}

# A list of columns to select: the name of each, what it holds, and the SQL expression that gives it.
.cs_columns <- function(name, kind, sql = .cs_quote(name)) {
  data.frame(name = name, kind = rep_len(kind, length(name)), sql = unname(sql), stringsAsFactors = FALSE)
}

# Infinity and NaN are text in the store's JSON.
.cs_metric_columns <- function(names, sql = .cs_quote(names)) {
  case <- "CASE %1$s WHEN 'inf' THEN 9e999 WHEN '-inf' THEN -9e999 WHEN 'nan' THEN NULL ELSE %1$s END"
  .cs_columns(names, "number", sprintf(case, sql))
}

.cs_select <- function(con, columns, from, params = NULL) {
  # SQLite types each value on its own; RSQLite would take the type of the first for the whole column.
  type <- ifelse(columns$kind == "text", "TEXT", "REAL")
  selected <- paste0("CAST(", columns$sql, " AS ", type, ") AS ", .cs_quote(columns$name), collapse = ", ")
  found <- DBI::dbGetQuery(con, paste("SELECT", selected, from), params = params)
  convert <- list(text = as.character, number = as.numeric, whole = .cs_whole, logical = as.logical, time = .cs_time)
  found[] <- Map(function(values, kind) convert[[kind]](values), found, columns$kind)
  names(found) <- make.unique(columns$name)
  found
}

# Whole numbers are integers, unless one is too large.
.cs_whole <- function(values) {
  values <- as.numeric(values)
  if (all(abs(values) <= .Machine$integer.max, na.rm = TRUE)) as.integer(values) else values
}

.cs_time <- function(values) .POSIXct(as.numeric(values))

.cs_study <- function(con, study) {
  if (!is.character(study) || length(study) != 1 || is.na(study)) {
    .cs_stop("study: the name of one study is needed, such as \"digits\"")
  }
  found <- DBI::dbGetQuery(con, "SELECT * FROM studies WHERE study = ?", params = list(study))
  if (!nrow(found)) {
    known <- DBI::dbGetQuery(con, "SELECT study FROM studies ORDER BY study")$study
    there <- if (length(known)) paste("studies there:", paste(known, collapse = ", ")) else "there are no studies"
    .cs_stop("no study \"", study, "\" in the store; ", there)
  }
  found
}

.cs_check_begun <- function(con, study, trial) {
  begun <- DBI::dbGetQuery(con, "SELECT trial FROM trials WHERE study = ? AND attempts > 0", params = list(study))$trial
  missing <- setdiff(trial, begun)
  if (length(missing)) {
    .cs_stop("trial ", missing[[1]], " of ", study, " has not begun; ", length(begun), " trials have")
  }
}

# SQLite ignores case in names, so the views of the second of two such studies have a number.
.cs_view <- function(con, prefix, study) {
  sql <- "SELECT count(*) AS n FROM studies WHERE lower(study) = lower(?) AND study < ?"
  earlier <- DBI::dbGetQuery(con, sql, params = list(study, study))$n
  paste0(prefix, "_", study, if (earlier) paste0("_", earlier + 1))
}

.cs_names <- function(con, view) {
  DBI::dbGetQuery(con, "SELECT name FROM pragma_table_info(?) ORDER BY cid", params = list(view))$name
}

.cs_trial_table <- function(con, study, more = NULL) {
  row <- .cs_study(con, study)
  leading <- .cs_columns(
    c("rank", "trial", "state", "value", "best_epoch", "epochs", "parameters", "seconds"),
    c("whole", "whole", "text", "number", "whole", "whole", "whole", "number")
  )
  view <- .cs_view(con, "leaderboard", study)
  parameters <- .cs_parameter_columns(con, row, leading$name)
  metrics <- .cs_metric_columns(setdiff(.cs_names(con, view), c(leading$name, parameters$name)))
  board <- .cs_select(con, rbind(leading, metrics), paste("FROM", .cs_quote(view)))
  others <- .cs_select(
    con, rbind(.cs_columns("trial", "whole", "t.trial"), parameters, .cs_test_columns(con, study), more),
    "FROM trials AS t LEFT JOIN configurations AS c ON c.study = t.study AND c.configuration = t.configuration
     WHERE t.study = ?", list(study)
  )
  others <- others[match(board$trial, others$trial), -1, drop = FALSE]
  both <- cbind(board, others)
  names(both) <- make.unique(c(names(board), names(others)))
  rownames(both) <- NULL
  both
}

# A column per hyperparameter, with the type of its values in all configurations.
.cs_parameter_columns <- function(con, row, leading) {
  sql <- "SELECT value AS name FROM json_each(?) UNION ALL SELECT value FROM json_each(?)"
  names <- DBI::dbGetQuery(con, sql, params = list(row$parameters_json, row$others_json))$name
  names <- names[!grepl("[\"\\\\[:cntrl:]]", names)] # SQLite's paths accept no other names
  kinds <- .cs_kinds(con, row$study)[names]
  kinds[is.na(kinds)] <- "logical" # NA in all rows
  type <- sprintf("json_type(c.params_json, %s)", .cs_json_path(names))
  value <- sprintf("json_extract(c.params_json, %s)", .cs_json_path(names))
  sql <- ifelse(
    kinds == "text",
    sprintf("CASE WHEN %1$s IN ('true', 'false', 'null') THEN %1$s ELSE %2$s END", type, value),
    value
  )
  taken <- tolower(names) %in% leading
  .cs_columns(ifelse(taken, paste0("params_", names), names), unname(kinds), sql)
}

.cs_kinds <- function(con, study) {
  found <- DBI::dbGetQuery(con, "
    SELECT e.key AS name, max(e.type IN ('true', 'false')) AS logical, max(e.type = 'integer') AS whole,
      max(e.type = 'real') AS number, max(e.type IN ('text', 'array', 'object')) AS text
    FROM configurations AS c, json_each(c.params_json) AS e WHERE c.study = ? GROUP BY e.key", params = list(study))
  numeric <- found$whole | found$number
  kind <- ifelse(found$number, "number", ifelse(found$whole, "whole", "logical"))
  kind[found$text | (numeric & found$logical)] <- "text"
  stats::setNames(kind, found$name)
}

# After `finalize`, a column per metric on the test set.
.cs_test_columns <- function(con, study) {
  sql <- "SELECT DISTINCT e.key AS name FROM trials AS t, json_each(t.test_metrics_json) AS e WHERE t.study = ?"
  names <- sort(DBI::dbGetQuery(con, sql, params = list(study))$name)
  .cs_metric_columns(names, sprintf("json_extract(t.test_metrics_json, %s)", .cs_json_path(names)))
}

.cs_json_path <- function(names) .cs_quote_text(paste0("$.", .cs_quote(names), recycle0 = TRUE))

.cs_quote <- function(names) paste0("\"", gsub("\"", "\"\"", names, fixed = TRUE), "\"", recycle0 = TRUE)

.cs_quote_text <- function(text) paste0("'", gsub("'", "''", text, fixed = TRUE), "'", recycle0 = TRUE)
