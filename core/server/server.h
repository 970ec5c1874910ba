/* The running server: one event loop with everything that hangs on it.
 *
 * An error at the start is fatal and named; an error at a reload is reported while the old
 * configuration runs on. */
#ifndef CORE_SERVER_H
#define CORE_SERVER_H

/* Runs in the foreground until SIGTERM or SIGINT (drain, then stop); SIGHUP reloads. Logs to
 * standard error. conf_dir: the directory of *.conf files. Returns 0 after an orderly stop, 3 when
 * it could not start or had to be cut short. Main thread; takes over the process's signal
 * dispositions and limits. */
int server_run(const char *conf_dir);

#endif
