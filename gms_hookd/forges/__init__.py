"""The forges: one small module each, all of one shape; `table` lists them."""
