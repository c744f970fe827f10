"""Train a teacher of the Hopper study (`--algo ppo --domain source`), or run it all (`--study`)."""

from Train_Teacher.study.command import main

if __name__ == "__main__":
    main()
