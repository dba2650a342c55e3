/* Ends a run of mert-train early, or asks for a checkpoint: signals, and a time limit. */
#ifndef MERT_TRAIN_LIMITS_H
#define MERT_TRAIN_LIMITS_H

/* Exit status of a run that was ended by --stop-after before it was complete (the value of EX_TEMPFAIL). */
enum { LIMITS_STATUS = 75 };

/* Reasons to end a run; bits. */
enum { LIMITS_SIGNAL = 1, LIMITS_TIME = 2 };

/* "3h55m", "90m", "30s", "1h30m10s" -> seconds. Another text, or a time of 0, is wrong use and ends the program.
 * option: its name, for the message. */
double limits_duration(const char *option, const char *text);

/* Starts the clock. After `seconds` (0: never) limits_reached returns LIMITS_TIME, but not before limits_arm, which is
 * called at the first update. So every start of a run makes at least one update, and a run that is resumed again and
 * again ends, however short the limit is. */
void limits_begin(void);
void limits_stop_after(double seconds);
void limits_arm(void);
double limits_elapsed(void); /* seconds since limits_begin */

/* From now on SIGINT, SIGTERM, SIGUSR1 and SIGHUP (unless it is ignored, as by nohup) are only noted. A second one ends
 * the program at once. */
void limits_catch_signals(void);
int limits_signal(void);  /* the signal that was noted; 0: none */
int limits_reached(void); /* the reasons so far, LIMITS_ bits */

#endif
