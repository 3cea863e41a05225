"""The command line: arguments in, text out. The only code of netc that prints or exits."""
