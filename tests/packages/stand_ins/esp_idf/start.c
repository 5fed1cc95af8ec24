/* ESP-IDF's start-up calls app_main on a task of its own. */
void app_main(void);

int main(void)
{
    app_main();
    return 0;
}
