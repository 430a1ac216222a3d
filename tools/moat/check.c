/* moat check: what this host has of what moat makes use of, and whether a sandbox starts. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/host.h"
#include "boot/host/host_features.h"
#include "boot/sandbox/sandbox.h"
#include "sentry/platform/platform.h"
#include "tools/moat/cli.h"

enum { FLAG_JSON = 1000, FLAG_MARKDOWN, FLAG_WITHOUT };

static const struct option flags[] = {
	{"json", no_argument, NULL, FLAG_JSON},
	{"markdown", no_argument, NULL, FLAG_MARKDOWN},
	{"platform-without", required_argument, NULL, FLAG_WITHOUT},
	{0},
};

#define MAX_PLATFORMS 4

/* A sandbox that was tried. */
struct trial {
	const char *platform; /* that it was asked for or got; NULL: none */
	enum isolation isolation;
	int status; /* of the sandbox's program */
	char error[512];
};

/* What was found. */
struct findings {
	struct found {
		bool have, hidden;
		char detail[128];
	} * found; /* one for each of host_features */
	struct trial sandbox;
	struct trial platforms[MAX_PLATFORMS]; /* each asked for by its name */
	unsigned nplatforms;
};

static const char *isolation_text(enum isolation isolation)
{
	switch (isolation) {
	case ISOLATION_FULL:
		return "user, pid, mount, network, ipc, uts and cgroup namespaces; an empty root; "
		       "no "
		       "capabilities; seccomp filters";
	case ISOLATION_NO_USER_NS:
		return "pid, mount, network, ipc, uts and cgroup namespaces; an empty root; no "
		       "capabilities; seccomp filters; no user namespace";
	case ISOLATION_NONE:
		return "seccomp filters, and Landlock if the host has it; no namespaces";
	}
	return "";
}

/* Runs a program in a sandbox as `moat do` would; what is said on stderr is caught. platform: NULL
 * or the one to be. */
static void try_sandbox(const struct cli_options *options, uint32_t without, const char *platform,
			struct trial *f)
{
	struct sandbox_spec spec;
	struct spec_mount *root;
	int said = memfd_create("stderr", MFD_CLOEXEC),
	    null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int err = dup(STDERR_FILENO), ret;
	char *text = f->error, *line;
	ssize_t n;

	spec_init(&spec);
	spec.platform_without = without;
	spec.platform = f->platform = platform;
	spec.container.process.uid = geteuid();
	spec.container.process.gid = getegid();
	spec_set_default_caps(&spec.container.process);
	for (int i = 0; i < 3; i++)
		spec.stdio[i] = null;
	ret = spec_add_mount(&spec.container, MOUNT_HOST, "/", "/", NULL, 0, NULL, &root);
	if (!ret)
		root->overlay = true;
	ret = ret ? ret : spec_add_default_mounts(&spec.container);
	ret = ret ? ret : spec_add_host_submounts(&spec.container, "/");
	if (ret || !strv_append(&spec.container.process.argv, "/bin/true") ||
	    !strv_append(&spec.container.process.envp, "PATH=/bin") || said < 0 || null < 0 ||
	    err < 0 || !(spec.container.process.cwd = strdup("/"))) {
		f->status = cli_error("check: %s", strerror(ret ? -ret : ENOMEM));
		return;
	}
	dup2(said, STDERR_FILENO);
	f->status = cli_run_sandbox(options, &spec);
	dup2(err, STDERR_FILENO);
	f->isolation = spec.isolation;
	if (spec.platform)
		f->platform = spec.platform;
	n = pread(said, text, sizeof(f->error) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	/* The last line is the reason; a warning of this very check is none. */
	while ((line = strchr(text, '\n')) && line[1])
		text = line + 1;
	text[strcspn(text, "\n")] = 0;
	memmove(f->error, text, strlen(text) + 1);
	/* There is a sandbox, only no such program in this host's root. */
	if (f->status == EXIT_NOT_FOUND)
		f->status = 0;
	close(said);
	close(null);
	close(err);
	spec_free(&spec);
}

/* Which platform sandboxes get, and why not those that are preferred to it. */
static void print_platforms(const struct findings *f)
{
	printf("\nplatform: %s\n", f->sandbox.platform ? f->sandbox.platform : "none");
	for (unsigned i = 0; i < f->nplatforms; i++) {
		const struct trial *t = &f->platforms[i];

		printf("    %u. %s %s%s\n", i + 1, t->platform,
		       t->status ? "does not start: " : "starts", t->status ? t->error : "");
	}
}

static json_t *json_platforms(const struct findings *f)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < f->nplatforms; i++) {
		const struct trial *t = &f->platforms[i];

		json_array_append_new(all, json_pack("{s:s, s:b, s:s}", "name", t->platform,
						     "starts", t->status == 0, "error",
						     t->status ? t->error : ""));
	}
	return all;
}

static void print_text(const struct findings *f)
{
	unsigned problems = 0;
	struct utsname u;

	uname(&u);
	printf("Linux %s, %s, %d CPUs, uid %u\n\n", u.release, u.machine, host_cpus(), geteuid());
	for (unsigned i = 0; i < num_host_features; i++) {
		const struct host_feature *h = &host_features[i];
		const struct found *found = &f->found[i];

		printf("%-7s  %-16s %-5s  %s%s%s%s\n",
		       found->hidden ? "hidden"
		       : found->have ? "have"
				     : "missing",
		       h->name, h->since, h->use, found->detail[0] ? " (" : "", found->detail,
		       found->detail[0] ? ")" : "");
	}
	for (unsigned i = 0; i < num_host_features; i++) {
		const struct host_feature *h = &host_features[i];

		if (f->found[i].have || h->effect == HOST_NOTHING)
			continue;
		printf("%s%s: costs %s: %s\n    to change that: %s\n", problems++ ? "" : "\n",
		       h->name, host_effect_name(h->effect), h->without, h->fix);
	}
	print_platforms(f);
	printf("isolation: %s\n", isolation_text(f->sandbox.isolation));
	if (f->sandbox.status)
		printf("no sandbox starts here: %s\n", f->sandbox.error);
	else
		printf("sandboxes start here\n");
}

static int print_json(const struct findings *f)
{
	const struct trial *t = &f->sandbox;
	json_t *features = json_array();
	struct utsname u;
	json_t *all;
	int ret;

	uname(&u);
	for (unsigned i = 0; i < num_host_features; i++) {
		const struct host_feature *h = &host_features[i];

		json_array_append_new(
			features,
			json_pack("{s:s, s:s, s:b, s:b, s:s, s:s, s:s, s:s, s:s}", "name", h->name,
				  "since", h->since, "have", f->found[i].have, "used",
				  f->found[i].have && !f->found[i].hidden, "detail",
				  f->found[i].detail, "use", h->use, "without", h->without, "costs",
				  host_effect_name(h->effect), "fix", h->fix));
	}
	all = json_pack("{s:s, s:s, s:i, s:i, s:o, s:s, s:o, s:s, s:b, s:s}", "kernel", u.release,
			"machine", u.machine, "cpus", host_cpus(), "uid", (int)geteuid(),
			"features", features, "platform", t->platform ? t->platform : "none",
			"platforms", json_platforms(f), "isolation", isolation_text(t->isolation),
			"starts", t->status == 0, "error", t->status ? t->error : "");
	ret = all ? json_dumpf(all, stdout, JSON_INDENT(2)) : -1;
	putchar('\n');
	json_decref(all);
	return ret ? cli_error("check: cannot write JSON") : 0;
}

/* The table of docs/HOSTS.md. */
static void print_markdown(void)
{
	printf("| feature | since Linux | what moat uses it for | without it | costs | to have it "
	       "|\n"
	       "|---|---|---|---|---|---|\n");
	for (unsigned i = 0; i < num_host_features; i++) {
		const struct host_feature *h = &host_features[i];

		printf("| `%s` | %s | %s | %s | %s | %s |\n", h->name,
		       h->since[0] ? h->since : "a setting", h->use, h->without,
		       host_effect_name(h->effect), h->fix);
	}
}

static int check(const struct cli_options *options, uint32_t without, bool json)
{
	struct findings f = {.found = calloc(num_host_features, sizeof(*f.found))};
	const char *name;
	int ret = 0;

	if (!f.found)
		return cli_error("check: %s", strerror(ENOMEM));
	for (unsigned i = 0; i < num_host_features; i++) {
		const struct host_feature *h = &host_features[i];

		f.found[i].hidden =
			(h->hidden && !host_has(h->hidden)) || (h->platform_hidden & without);
		f.found[i].have = h->probe(f.found[i].detail, sizeof(f.found[i].detail));
	}
	try_sandbox(options, without, NULL, &f.sandbox);
	while (f.nplatforms < MAX_PLATFORMS && (name = platform_choice(f.nplatforms)))
		try_sandbox(options, without, name, &f.platforms[f.nplatforms++]);
	if (json)
		ret = print_json(&f);
	else
		print_text(&f);
	free(f.found);
	return ret ? ret : f.sandbox.status ? 1 : 0;
}

static int run_check(const struct cli_options *options, int argc, char **argv)
{
	uint32_t without = 0;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "+:", flags, NULL)) != -1) {
		switch (c) {
		case FLAG_JSON:
			json = true;
			break;
		case FLAG_MARKDOWN:
			print_markdown();
			return 0;
		case FLAG_WITHOUT:
			for (char *name = optarg; name && *name;) {
				size_t len = strcspn(name, ",");

				if (host_feature_hide(name, len, &without))
					return cli_error("check: --platform-without: no feature "
							 "'%.*s' that moat can do without",
							 (int)len, name);
				name += len + (name[len] == ',');
			}
			break;
		default:
			return cli_bad_flag("check", argv, c);
		}
	}
	if (optind != argc)
		return cli_error("check: unexpected argument '%s'", argv[optind]);
	return check(options, without, json);
}

const struct cli_command cli_check = {
	.name = "check",
	.usage = "[flags]",
	.summary = "Say what this host has for moat, and whether sandboxes start",
	.flags = "  --json                  for programs\n"
		 "  --platform-without LIST as in 'moat help do'\n"
		 "  --markdown              the table alone, of all hosts\n\n"
		 "The exit status is 0 if sandboxes start, 1 if not.\n",
	.run = run_check,
};
