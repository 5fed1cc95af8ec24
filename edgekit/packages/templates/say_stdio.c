#include <stdio.h>

void say(const char *text);
void finish(int status);

void say(const char *text) { fputs(text, stdout); }

void finish(int status) { (void)status; /* what main returns says it */ }
