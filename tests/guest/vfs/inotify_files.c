/* inotify of what is done with files: in which order, by exec, through names that are gone, by
 * FIFOs (man 7 inotify). */
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "tmpdir.h"

static int in;
static char seen[4096];

/* All events that are there, as words: "OPEN:name MODIFY:name". */
static const char *events(void)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{IN_ACCESS, "ACCESS"},	{IN_MODIFY, "MODIFY"},	  {IN_ATTRIB, "ATTRIB"},
		{IN_OPEN, "OPEN"},	{IN_CLOSE, "CLOSE"},	  {IN_CREATE, "CREATE"},
		{IN_DELETE, "DELETE"},	{IN_MOVED_FROM, "FROM"},  {IN_MOVED_TO, "TO"},
		{IN_MOVE_SELF, "MOVE"}, {IN_DELETE_SELF, "GONE"}, {IN_IGNORED, "IGNORED"},
	};
	char buf[8192] __attribute__((aligned(8)));
	ssize_t n;

	seen[0] = 0;
	while ((n = read(in, buf, sizeof(buf))) > 0) {
		struct inotify_event *e;

		for (char *p = buf; p < buf + n; p += sizeof(*e) + e->len) {
			e = (void *)p;
			for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
				if (e->mask & names[i].bit)
					sprintf(seen + strlen(seen), "%s%s:%s", seen[0] ? " " : "",
						names[i].name, e->len ? e->name : "");
		}
	}
	return seen;
}

static void expect_at(int line, const char *what)
{
	if (strcmp(events(), what)) {
		printf("line %d: expected '%s', got '%s'\n", line, what, seen);
		check_failures++;
	}
}
#define EXPECT(what) expect_at(__LINE__, what)

static void watch(uint32_t mask)
{
	in = inotify_init1(IN_NONBLOCK);
	REQUIRE(in >= 0 && inotify_add_watch(in, ".", mask) == 1);
}

static void truncation_is_told_after_the_open(void)
{
	make_file("f", "hello");
	watch(IN_ALL_EVENTS);
	close(open("f", O_RDWR | O_TRUNC));
	EXPECT("OPEN:f MODIFY:f CLOSE:f");
	close(open("f", O_RDONLY | O_TRUNC | O_CREAT, 0600));
	EXPECT("OPEN:f MODIFY:f CLOSE:f");
	close(open("new", O_RDWR | O_TRUNC | O_CREAT, 0600));
	EXPECT("CREATE:new OPEN:new CLOSE:new");
	close(open("f", O_PATH));
	EXPECT("");
	close(in);
}

static void run(const char *name)
{
	pid_t pid = fork();

	if (!pid) {
		execl(name, name, (char *)NULL);
		_exit(1);
	}
	REQUIRE(pid > 0 && waitpid(pid, NULL, 0) == pid);
}

static void exec_opens_programs_and_scripts(void)
{
	char self[PATH_MAX] = "", line[PATH_MAX + 128];

	REQUIRE(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(line, sizeof(line), "cp %s ./prog", self);
	REQUIRE(system(line) == 0);
	snprintf(line, sizeof(line), "#!%s/prog\n", tmpdir_path);
	make_file("script", line);
	chmod("script", 0755);
	setenv("INOTIFY_FILES_CHILD", "1", 1);
	watch(IN_ALL_EVENTS);
	run("./prog");
	EXPECT("OPEN:prog ACCESS:prog CLOSE:prog");
	run("./script");
	EXPECT("OPEN:script ACCESS:script OPEN:prog ACCESS:prog CLOSE:script CLOSE:prog");
	chmod("script", 0644);
	events();
	run("./script");
	EXPECT("");
	unsetenv("INOTIFY_FILES_CHILD");
	close(in);
}

static void files_without_a_name_are_excluded_if_asked(void)
{
	int fd;

	make_file("f", "hello");
	watch(IN_ALL_EVENTS | IN_EXCL_UNLINK);
	fd = open("f", O_RDWR);
	write(fd, "x", 1);
	EXPECT("OPEN:f MODIFY:f");
	unlink("f");
	events();
	write(fd, "x", 1);
	EXPECT("");
	/* What is done to the file itself is not done through its name. */
	REQUIRE(ftruncate(fd, 0) == 0);
	EXPECT("MODIFY:f");
	fchmod(fd, 0600);
	EXPECT("ATTRIB:f");
	close(fd);
	EXPECT("");
	close(in);
}

static void what_is_renamed_over_keeps_its_name(void)
{
	int fd;

	make_file("old", "1");
	make_file("other", "2");
	watch(IN_ALL_EVENTS);
	fd = open("old", O_RDWR);
	REQUIRE(rename("other", "old") == 0);
	events();
	write(fd, "x", 1);
	EXPECT("MODIFY:old");
	close(fd);
	EXPECT("CLOSE:old");
	close(in);
}

static void fifos_tell_only_of_opens(void)
{
	int fd;
	char c;

	REQUIRE(mkfifo("p", 0600) == 0);
	watch(IN_OPEN | IN_CLOSE);
	fd = open("p", O_RDWR);
	write(fd, "x", 1);
	read(fd, &c, 1);
	close(fd);
	EXPECT("OPEN:p CLOSE:p");
	close(in);
}

static void all(void)
{
	truncation_is_told_after_the_open();
	exec_opens_programs_and_scripts();
	files_without_a_name_are_excluded_if_asked();
	what_is_renamed_over_keeps_its_name();
	fifos_tell_only_of_opens();
}

int main(void)
{
	if (getenv("INOTIFY_FILES_CHILD"))
		return 0;
	on_each_fs(all);
	CHECK_DONE();
}
