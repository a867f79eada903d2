"""Parts that several commands share: options, tables, progress displays, interrupts."""
