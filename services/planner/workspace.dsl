workspace "Planner" "Users plan goals, and the tasks that lead there." {

    !identifiers hierarchical

    model {
        user = person "User" "Plans goals and does tasks."
        admin = person "Admin" "May change whatever belongs to others."

        planner = softwareSystem "Planner" "Goals, their tasks, and how far those are." {
            users = container "Users" "Logins, tokens, sessions, users in memory. Any number of processes." "Rust: planner users"
            goals = container "Goals" "Goals, tasks, their history. Any number of processes." "Rust: planner goals"
            usersDatabase = container "planner_users" "Users, sessions, signing keys, what was changed." "MySQL or MariaDB" "Database"
            goalsDatabase = container "planner_goals" "Goals, tasks, history." "MySQL or MariaDB" "Database"
        }

        user -> planner.users "Logs in" "HTTP, JSON"
        user -> planner.goals "Plans, with a token" "HTTP, JSON"
        admin -> planner.users "Makes and changes users" "HTTP, JSON"
        admin -> planner.goals "Changes whatever belongs to others" "HTTP, JSON"
        planner.users -> planner.usersDatabase "Reads and writes; looks each 50 ms at what other processes changed" "MySQL protocol"
        planner.goals -> planner.goalsDatabase "Reads and writes" "MySQL protocol"
        planner.goals -> planner.users "Fetches the public keys of tokens, each 5 s" "HTTP, JWKS"

        deployment = deploymentEnvironment "Compose" {
            deploymentNode "Docker" {
                deploymentNode "users-1" {
                    containerInstance planner.users
                }
                deploymentNode "users-2" {
                    containerInstance planner.users
                }
                deploymentNode "goals" {
                    containerInstance planner.goals
                }
                deploymentNode "mysql" {
                    containerInstance planner.usersDatabase
                    containerInstance planner.goalsDatabase
                }
            }
        }
    }

    views {
        systemContext planner "Context" {
            include *
            autolayout lr
        }

        container planner "Containers" {
            include *
            autolayout lr
        }

        dynamic planner "Login" "How a user comes to a goal." {
            user -> planner.users "POST /token"
            planner.users -> planner.usersDatabase "Reads the hash, begins a session"
            user -> planner.goals "POST /goals, with the token"
            planner.goals -> planner.users "GET /.well-known/jwks.json, if the token's key is not known yet"
            planner.goals -> planner.goalsDatabase "Stores the goal"
            autolayout lr
        }

        deployment planner "Compose" "Deployment" {
            include *
            autolayout lr
        }

        styles {
            element "Database" {
                shape cylinder
            }
        }
    }
}
