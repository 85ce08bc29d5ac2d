"""Studies: one .toml says what is to be measured, on what, by which models. It is planned, run and looked at as one."""
