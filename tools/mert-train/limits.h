/* What ends a run of mert-train early, or asks it for a checkpoint: signals, and a limit of time. */
#ifndef MERT_TRAIN_LIMITS_H
#define MERT_TRAIN_LIMITS_H

/* Exit status of a run that --stop-after has ended: it is not done (the value of EX_TEMPFAIL). */
enum { LIMITS_STATUS = 75 };

/* Why a run is to end; bits. */
enum { LIMITS_SIGNAL = 1, LIMITS_TIME = 2 };

/* "3h55m", "90m", "30s", "1h30m10s" -> seconds. Ends the program (wrong use) if it is something else, or no time at
 * all; option: its name, for the message. */
double limits_duration(const char *option, const char *text);

/* The clock begins. seconds: after which limits_reached has LIMITS_TIME; 0: never. Not before limits_arm, which is
 * called with the first update: a run that is resumed again and again comes to its end, however short its time is. */
void limits_begin(void);
void limits_stop_after(double seconds);
void limits_arm(void);
double limits_elapsed(void); /* seconds since limits_begin */

/* From now on SIGINT, SIGTERM, SIGUSR1 and SIGHUP (unless it is ignored, as nohup does) are noted; a second one ends
 * the program at once. */
void limits_catch_signals(void);
int limits_signal(void);  /* the one that came; 0: none */
int limits_reached(void); /* LIMITS_ bits */

#endif
