"""How things are drawn: figures as plain data, image files for papers, pictures of images."""
