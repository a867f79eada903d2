"""The other sections of a sweep file as data, and one trial that follows from them."""
