/*
 * moat help [COMMAND]: what the commands say of themselves, in lines; as man pages (--man), and as
 * the words that a shell completes (--completion). All three are made of the same text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "tools/moat/cli.h"

static const char global_flags[] =
	"  --root DIR              where the state of containers is kept (default /run/moat,\n"
	"                          or moat in XDG_RUNTIME_DIR of an ordinary user)\n"
	"  --log FILE              append errors to this file, too\n"
	"  --log-format FORMAT     of that file: text (default) or json\n"
	"  --debug                 log what moat does\n"
	"  --egress POLICY         for create, run and do, as the flag of theirs; so --egress-log\n"
	"  --rootless[=HOW]        work as an ordinary user: true, false or auto (default:\n"
	"                          unless started as root)\n"
	"  --systemd-cgroup        taken from callers of runc; cgroups are made without systemd\n"
	"  --version, -v           print the version\n"
	"  --help, -h              print this\n";

static const struct cli_command *find(const char *name)
{
	for (unsigned i = 0; cli_commands[i]; i++)
		if (!strcmp(name, cli_commands[i]->name))
			return cli_commands[i];
	return NULL;
}

/* --- lines ------------------------------------------------------------------------------------ */

static int print_all(void)
{
	printf("usage: moat [flags] COMMAND ...\n\n"
	       "Runs programs in a sandbox with a kernel of its own.\n\n%s\n",
	       global_flags);
	for (unsigned i = 0; cli_commands[i]; i++)
		printf("  %-9s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
	return 0;
}

static int print_one(const struct cli_command *c)
{
	printf("usage: moat [flags] %s%s%s\n\n%s.\n", c->name, *c->usage ? " " : "", c->usage,
	       c->summary);
	if (c->flags)
		printf("\n%s", c->flags);
	return 0;
}

/* --- man pages -------------------------------------------------------------------------------- */

/* Text for roff: a hyphen is one, and no line is a request. */
static void roff_text(const char *s, size_t n)
{
	if (n && (*s == '.' || *s == '\''))
		fputs("\\&", stdout);
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '-')
			fputs("\\-", stdout);
		else if (s[i] == '\\')
			fputs("\\e", stdout);
		else
			putchar(s[i]);
	}
}

static void roff_line(const char *before, const char *s, const char *after)
{
	fputs(before, stdout);
	roff_text(s, strlen(s));
	fputs(after, stdout);
}

/* Where what is said of a flag begins: behind two spaces, or the 26th column. */
static size_t column_of_text(const char *line, size_t n)
{
	const char *gap = n > 4 ? memmem(line + 2, n - 2, "  ", 2) : NULL;
	size_t at = gap ? (size_t)(gap - line) : n;

	while (at < n && line[at] == ' ')
		at++;
	return gap ? at : n > 26 && line[25] == ' ' ? 26 : n;
}

/* "  --flag X   text" becomes a tagged paragraph, "      more text" goes on with it. */
static void roff_flags(const char *text)
{
	bool tagged = false;

	while (text && *text) {
		size_t n = strcspn(text, "\n"), at, end;

		if (n > 2 && !strncmp(text, "  -", 3)) {
			at = column_of_text(text, n);
			for (end = at; end > 2 && text[end - 1] == ' '; end--)
				;
			fputs(".TP\n.B ", stdout);
			roff_text(text + 2, end - 2);
			putchar('\n');
			roff_text(text + at, n - at);
			putchar('\n');
			tagged = true;
		} else if (!n) {
			puts(".PP");
			tagged = false;
		} else {
			at = strspn(text, " ");
			if (!at && tagged)
				puts(".PP");
			tagged = tagged && at;
			roff_text(text + at, n - at);
			putchar('\n');
		}
		text += n + (text[n] == '\n');
	}
}

static void man_header(const char *name, const char *summary)
{
	printf(".TH MOAT%s%s 1 \"\" \"moat %s\"\n.SH NAME\n", *name ? "\\-" : "", name,
	       MOAT_VERSION);
	roff_line("moat", *name ? "-" : "", "");
	roff_line("", name, " \\- ");
	roff_line("", summary, "\n");
}

static void man_one(const struct cli_command *c)
{
	man_header(c->name, c->summary);
	roff_line(".SH SYNOPSIS\n.B moat\n[flags]\n.B ", c->name, "\n");
	roff_line("", c->usage, "\n");
	roff_line(".SH DESCRIPTION\n", c->summary, ".\n");
	if (c->flags) {
		puts(".SH OPTIONS");
		roff_flags(c->flags);
	}
	puts(".SH SEE ALSO\n.BR moat (1)");
}

static void man_all(void)
{
	man_header("", "run programs in a sandbox with a kernel of its own");
	puts(".SH SYNOPSIS\n.B moat\n[flags]\n.I COMMAND\n\\&...\n.SH DESCRIPTION\n"
	     "An application kernel for Linux containers: programs run unmodified against a "
	     "kernel\n"
	     "of its own that lives in user space. It is an OCI runtime, too, with the commands "
	     "and\n"
	     "flags of\n.BR runc (8).\n.SH OPTIONS");
	roff_flags(global_flags);
	puts(".SH COMMANDS");
	for (unsigned i = 0; cli_commands[i]; i++) {
		roff_line(".TP\n.BR moat\\-", cli_commands[i]->name, " (1)\n");
		roff_line("", cli_commands[i]->summary, "\n");
	}
	puts(".SH EXIT STATUS\nThat of the program, or 128 and the signal that ended it; 125 when "
	     "moat\n"
	     "failed, 126 when the program cannot be executed, 127 when there is none. The "
	     "commands\n"
	     "that runc has too exit with 1 when they fail, exec with 255.\n"
	     ".SH FILES\n.TP\n.I /run/moat\nwhat is kept of containers; see\n.B \\-\\-root");
}

/* --- completion ------------------------------------------------------------------------------- */

/* The long flags in a text, each followed by a space. */
static void print_flags(const char *text)
{
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		size_t n = strcspn(line += *line == '\n', "\n");
		size_t end = n > 2 && !strncmp(line, "  -", 3) ? column_of_text(line, n) : 0;

		for (size_t i = 2; i + 2 < end; i++) {
			size_t len = strspn(line + i, "-abcdefghijklmnopqrstuvwxyz0123456789");

			if (!strncmp(line + i, "--", 2) && line[i - 1] == ' ')
				printf("%.*s ", (int)len, line + i);
			i += len ? len - 1 : 0;
		}
		if (!*line)
			break;
	}
}

static bool takes_id(const struct cli_command *c)
{
	return strstr(c->usage, "ID") && strcmp(c->name, "create") && strcmp(c->name, "run");
}

static int print_completion(void)
{
	puts("# bash completion for moat, made by 'moat help --completion'\n"
	     "_moat() {\n"
	     "\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
	     "\tlocal command= root= i words=\n"
	     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "\t\tcase ${COMP_WORDS[i]} in\n"
	     "\t\t--root | --log | --log-format)\n"
	     "\t\t\t[ \"${COMP_WORDS[i]}\" = --root ] && root=${COMP_WORDS[i+1]}\n"
	     "\t\t\ti=$((i + 1)) ;;\n"
	     "\t\t-*) ;;\n"
	     "\t\t*) command=${COMP_WORDS[i]}; break ;;\n"
	     "\t\tesac\n"
	     "\tdone\n"
	     "\tcase $before in\n"
	     "\t--bundle | -b | --root | --rootfs | --cwd | --prefix)\n"
	     "\t\tCOMPREPLY=($(compgen -d -- \"$word\")); return ;;\n"
	     "\t--pid-file | --console-socket | --pidfd-socket | --process | -p | --log | "
	     "--debug-log | --resources "
	     "| -r)\n"
	     "\t\tCOMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
	     "\tesac\n"
	     "\tcase $command in");
	fputs("\t'') words=\"", stdout);
	print_flags(global_flags);
	for (unsigned i = 0; cli_commands[i]; i++)
		printf("%s%s", i ? " " : "", cli_commands[i]->name);
	puts("\" ;;");
	for (unsigned i = 0; cli_commands[i]; i++) {
		const struct cli_command *c = cli_commands[i];

		printf("\t%s) words=\"", c->name);
		print_flags(c->flags);
		if (c == &cli_help)
			for (unsigned n = 0; cli_commands[n]; n++)
				printf("%s ", cli_commands[n]->name);
		if (strstr(c->usage, "docker"))
			fputs("docker containerd podman", stdout);
		fputs(takes_id(c) ? "$(${COMP_WORDS[0]} ${root:+--root \"$root\"} list -q "
				    "2>/dev/null)\" "
				    ";;\n"
				  : "\" ;;\n",
		      stdout);
	}
	puts("\tesac\n"
	     "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
	     "}\n"
	     "complete -o default -F _moat moat");
	return 0;
}

/* --- the command ------------------------------------------------------------------------------ */

static int run_help(const struct cli_options *options, int argc, char **argv)
{
	bool man = argc > 1 && !strcmp(argv[1], "--man");
	const struct cli_command *c;

	(void)options;
	if (argc == 2 && !strcmp(argv[1], "--completion"))
		return print_completion();
	if (argc > 2 + man)
		return cli_error("help: one command at most");
	if (argc == 1 + man) {
		if (!man)
			return print_all();
		man_all();
		return 0;
	}
	c = find(argv[1 + man]);
	if (!c)
		return cli_error("help: unknown command '%s'", argv[1 + man]);
	if (!man)
		return print_one(c);
	man_one(c);
	return 0;
}

const struct cli_command cli_help = {
	.name = "help",
	.usage = "[--man] [COMMAND] | --completion",
	.summary = "Explain moat, or one of its commands",
	.flags = "  --man                   as a manual page for man(1)\n"
		 "  --completion            the words that bash is to complete\n",
	.run = run_help,
};
